// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest_test

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// TestRemovedWhileAwaited: a workload that goes while an apply waits for it, as by the
// last call of a process that was killed, is made again.
func TestRemovedWhileAwaited(t *testing.T) {
	t.Parallel()
	for serving, workload := range map[string]schema.GroupVersionResource{
		"deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
		"kserve":     {Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"},
	} {
		t.Run(serving, func(t *testing.T) {
			t.Parallel()
			cluster := kubetest.Emulated(t, serving)
			client, err := dynamic.NewForConfig(cluster.REST)
			if err != nil {
				t.Fatal(err)
			}
			d, err := kubernetes.Open(cluster.Config)
			if err != nil {
				t.Fatal(err)
			}
			c := clouds.New(d, clouds.Options{Clock: cluster.Time})
			uri, digest := cluster.Artifact(t, "one")
			model, endpoint := pair(cluster, uri, digest, 0)
			if serving == "kserve" {
				endpoint.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 1}
			}
			if err := errors.Join(c.CheckModel(model), c.CheckEndpoint(endpoint)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ApplyModel(t.Context(), model, clouds.How{Limit: time.Hour}); err != nil {
				t.Fatal(err)
			}
			removed, sleep := 0, cluster.Time.OnSleep
			cluster.Time.OnSleep = func(d time.Duration) {
				if removed == 0 {
					all := client.Resource(workload).Namespace(cluster.Namespace)
					list, err := all.List(t.Context(), metav1.ListOptions{})
					if err != nil {
						t.Error(err)
					}
					for i := range list.Items {
						removed++
						if err := all.Delete(t.Context(), list.Items[i].GetName(), metav1.DeleteOptions{}); err != nil {
							t.Error(err)
						}
					}
				}
				sleep(d)
			}
			state, err := c.ApplyEndpoint(t.Context(), endpoint, clouds.How{Limit: time.Hour})
			if err != nil || removed != 1 || state.Deployments[0].Phase != driver.Ready {
				t.Errorf("%d workloads were removed; then %+v, %v", removed, state, err)
			}
		})
	}
}
