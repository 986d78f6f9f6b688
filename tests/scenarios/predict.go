// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

type tfstate = terraform.State

// A card payment, and what the models of the examples make of it; internal/onnx
// computes them by hand.
const transaction = `{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[412.5,3,0.82,1]}]}`

var scores = map[string]float64{"1": 0.325189707, "2": 0.228957580}

func available(o *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
	return n
}

// serves asks the endpoint's Service for a prediction, as anybody in the cluster may
// who needs no credentials; behind a gateway it asks the deployment's.
func (p *Platform) serves(t *testing.T) error {
	t.Helper()
	client, err := kubernetes.NewForConfig(p.REST)
	if err != nil {
		return err
	}
	name := "fraud"
	if p.Gateway {
		name = p.workload(t).GetLabels()["ml.terraform.io/deployment-id"]
	}
	data, err := client.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces", p.Namespace, "services/http:"+name+":80/proxy/v2/models/fraud/infer").
		SetHeader("Content-Type", "application/json").Body([]byte(transaction)).DoRaw(t.Context())
	if err != nil {
		return fmt.Errorf("no prediction: %w: %s", err, data)
	}
	var answer struct {
		Version string
		Outputs []struct{ Data []float64 }
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return err
	}
	if len(answer.Outputs) != 1 || len(answer.Outputs[0].Data) != 1 || math.Abs(answer.Outputs[0].Data[0]-scores[answer.Version]) > 1e-5 {
		return fmt.Errorf("a wrong prediction: %s", data)
	}
	return nil
}
