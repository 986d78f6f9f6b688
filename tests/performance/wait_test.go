// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

const fixed = `
resource "ml_endpoint" "e" {
  count    = var.n
  platform = "sagemaker"
  name     = "e${count.index}"
  deployments = {
    main = {
      model   = ml_model.m[count.index].version_id
      compute = { instance_type = "ml.m5.large" }
    }
  }
}
`

// TestWaiting measures how long after an endpoint came into service terraform
// says so and ends. Endpoints that take differently long meet the provider's
// looks at different moments.
func TestWaiting(t *testing.T) {
	var late []float64
	for _, seconds := range []float64{2.1, 3.3, 4.5, 6.9, 30} {
		took, after := delay(t, 1/seconds)
		allowed := max(1, 0.05*took.Seconds())
		tell(t, "in service after %.2f s, terraform ended %.2f s later (allowed: %.2f s)", took.Seconds(), after.Seconds(), allowed)
		late = append(late, after.Seconds()/allowed)
	}
	hold(t, "end of an apply after the platform is ready", "%.2f of the larger of 1 s and 5%%", slices.Max(late), 1)
}

// delay applies one endpoint at a speed of the platform's clock. It returns how
// long the endpoint took to come into service, and how much later the apply
// ended.
func delay(t *testing.T, speed float64) (took, after time.Duration) {
	t.Helper()
	t.Setenv("ML_REHEARSAL_SPEED", fmt.Sprint(speed))
	r, dir := platform(t, fleet+fixed)
	if _, err := built.Run(t.Context(), dir, isolated, "apply", "-auto-approve", "-input=false", "-var=n=1", "-target=ml_model.m"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := built.Run(t.Context(), dir, isolated, "apply", "-auto-approve", "-input=false", "-var=n=1")
		ended <- err
	}()
	ready := inService(t, r, ended)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	out, err := r.SageMaker().DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("e0")})
	if err != nil {
		t.Fatal(err)
	}
	return ready.Sub(*out.CreationTime), end.Sub(ready)
}

// inService asks the platform, far more often than the provider does, until the
// endpoint serves.
func inService(t *testing.T, r *acctest.Rehearsal, ended <-chan error) time.Time {
	t.Helper()
	client := r.SageMaker()
	for {
		out, err := client.DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("e0")})
		if err == nil && out.EndpointStatus == types.EndpointStatusInService {
			return time.Now()
		}
		select {
		case err := <-ended:
			t.Fatalf("the apply ended before the endpoint was seen in service: %v", err)
		default:
		}
		if err := (wait.Real{}).Sleep(t.Context(), 25*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}
