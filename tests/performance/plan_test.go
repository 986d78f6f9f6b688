// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// fleet is a configuration of n models, each served by an autoscaled endpoint.
// The platform is served by the test, so that the provider is measured alone.
const fleet = `
variable "n" {
  type = number
}

variable "file" {
  type    = string
  default = "model.onnx"
}

resource "ml_model" "m" {
  count    = var.n
  platform = "sagemaker"
  name     = "m${count.index}"
  artifact = { uri = var.file, format = "onnx" }
}
`

const served = `
resource "ml_endpoint" "e" {
  count    = var.n
  platform = "sagemaker"
  name     = "e${count.index}"
  deployments = {
    main = {
      model   = ml_model.m[count.index].version_id
      compute = { instance_type = "ml.m5.large" }
      scaling = {
        min     = 1
        max     = 4
        metrics = [{ type = "requests_per_replica", target = 200 }]
      }
    }
  }
}
`

// isolated keeps the user's own settings out.
var isolated = []string{"AWS_REGION=", "AWS_PROFILE=", "AWS_EC2_METADATA_DISABLED=true", "ML_REHEARSAL="}

// platform serves an emulated platform and makes a configuration for it.
func platform(t *testing.T, resources string) (r *acctest.Rehearsal, dir string) {
	t.Helper()
	r, dir = acctest.NewRehearsal(t), t.TempDir()
	if _, err := r.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("staging")}); err != nil {
		t.Fatal(err)
	}
	config := acctest.Configuration + fmt.Sprintf(`
provider "ml" {
  sagemaker = {
    region             = %q
    access_key         = "test"
    secret_key         = "test"
    endpoint_url       = %q
    execution_role_arn = "arn:aws:iam::123456789012:role/models"
    staging_uri        = "s3://staging/artifacts"
  }
}
`, acctest.Region, r.URL()) + resources
	for name, content := range map[string]string{"main.tf": config, "model.onnx": "bytes of a model"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r, dir
}

// grow makes the fleet n models and n endpoints.
func grow(t *testing.T, dir string, n int) []string {
	t.Helper()
	count := fmt.Sprintf("-var=n=%d", n)
	began := time.Now()
	if _, err := built.Run(t.Context(), dir, isolated, "apply", "-auto-approve", "-input=false", "-parallelism=20", count); err != nil {
		t.Fatal(err)
	}
	tell(t, "%d resources were made in %s", 2*n, time.Since(began).Round(time.Second))
	return []string{"plan", "-input=false", "-detailed-exitcode", count}
}

// TestPlanCalls counts what a plan of unchanged resources asks the platform.
func TestPlanCalls(t *testing.T) {
	t.Setenv("ML_REHEARSAL_SPEED", "20")
	const n = 20
	r, dir := platform(t, fleet+served)
	plan := grow(t, dir, n)
	began := time.Now()
	if _, err := built.Run(t.Context(), dir, isolated, plan...); err != nil {
		t.Fatal(err)
	}
	counted := map[string]int{}
	for _, call := range r.Since(t, began) {
		counted[call.Name]++
	}
	tell(t, "%v", counted)
	var models, endpoints, shared int
	for call, times := range counted {
		switch {
		case strings.HasPrefix(call, "application-autoscaling."), strings.HasPrefix(call, "cloudwatch."):
			shared += times
		case strings.Contains(call, "ModelPackage"):
			models += times
		default:
			endpoints += times
		}
	}
	hold(t, "calls a model", "%.2f", float64(models)/n, 1)
	hold(t, "calls an endpoint, with autoscaling", "%.2f", float64(endpoints+shared)/n, 2)
}

// TestPlanGrowth plans fleets of several sizes: time and memory grow with the
// number of resources, and not faster.
func TestPlanGrowth(t *testing.T) {
	t.Setenv("ML_REHEARSAL_SPEED", "1000")
	_, dir := platform(t, fleet+served)
	sizes := []int{50, 200, 1000}
	if testing.Short() {
		sizes = sizes[:2]
	}
	var took, rss []float64
	for _, n := range sizes {
		plan := grow(t, dir, n/2)
		var times, memory []float64
		for range 3 {
			d, used := attached(t, dir, isolated, plan...)
			times, memory = append(times, d.Seconds()), append(memory, used.rss)
		}
		took, rss = append(took, median(times)), append(rss, median(memory))
		tell(t, "%d resources: plan %.2f s, provider %.1f MB", n, median(times), median(memory)/mega)
	}
	for i := 1; i < len(sizes); i++ {
		step := fmt.Sprintf("from %d to %d resources", sizes[i-1], sizes[i])
		more := float64(sizes[i]) / float64(sizes[i-1])
		hold(t, "plan time, "+step, "%.2f of linear", took[i]/took[i-1]/more, 1.5)
		hold(t, "memory a resource, "+step, "%.0f KB", (rss[i]-rss[i-1])/float64(sizes[i]-sizes[i-1])/1024, 100)
	}
}
