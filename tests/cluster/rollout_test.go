// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
	"github.com/mlplane/terraform-provider-ml/tests/scenarios"
)

// asked is an endpoint as its callers have it.
type asked struct {
	url, host string // host is "" where the URL tells
}

// predict asks as one of two kinds of callers: one keeps its connections, the other makes
// one for each request.
func (a asked) predict(ctx context.Context, keep bool) (prediction, error) {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	client := fresh
	if keep {
		client = keeping
	}
	var header []string
	if a.host != "" {
		header = []string{"Host", a.host}
	}
	p, err := predict(ctx, client, a.url, header...)
	if err != nil {
		return p, err
	}
	return p, p.check(map[string]float64{"1": scoreV1, "2": scoreV2}[p.Version])
}

var keeping, fresh = client(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// answering is the address of the endpoint "fraud" from this process, once it answers
// there: a proxy learns of pods a moment after the API server does.
func answering(t *testing.T, c *kube.Cluster, p *scenarios.Platform) asked {
	t.Helper()
	to := reach(t, c, p)
	kube.Eventually(t, time.Minute, "the first answer", func(ctx context.Context) error {
		_, err := to.predict(ctx, true)
		return err
	})
	return to
}

func reach(t *testing.T, c *kube.Cluster, p *scenarios.Platform) asked {
	t.Helper()
	if p.Gateway {
		return asked{"http://" + c.Gateway(t).HTTP + "/v2/models/fraud/infer", "fraud-" + p.Namespace + ".ml.test"}
	}
	return asked{url: c.URL(t, p.Namespace, "service/fraud", 80) + "/v2/models/fraud/infer"}
}

// TestRollout puts an endpoint through what happens to one in its life, under requests
// that go on all the time, and counts those that are lost: another version, one that
// does not start, a pod that is killed, another size.
func TestRollout(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	inEachMode(t, func(t *testing.T, name string, m mode) {
		t.Helper()
		p := open(t, c, m)
		one, two := p.Provider()+p.Model(t, 1), p.Provider()+p.Model(t, 2)
		crash := p.Crash("the weights are corrupt")
		const twice = scenarios.Small + "scaling = { min = 2 }\n"
		var traffic map[string]*kube.Traffic
		var to asked
		begin := func(*terraform.State) error {
			to = answering(t, c, p)
			traffic = map[string]*kube.Traffic{}
			for kind, keep := range map[string]bool{"connections that are kept": true, "a connection each": false} {
				traffic[kind] = kube.StartTraffic(t, 2, func(ctx context.Context) error {
					_, err := to.predict(ctx, keep)
					return err
				})
			}
			return nil
		}
		serves := func(version string) func(*terraform.State) error {
			return func(*terraform.State) error {
				got, err := to.predict(t.Context(), false)
				if err == nil && got.Version != version {
					err = fmt.Errorf("version %s answers, want %s", got.Version, version)
				}
				return err
			}
		}
		acctest.Run(t,
			resource.TestStep{Config: one + scenarios.Endpoint(twice, scenarios.Open), Check: begin},
			resource.TestStep{Config: two + scenarios.Endpoint(twice, scenarios.Open), Check: serves("2")},
			resource.TestStep{Config: two + scenarios.Endpoint(twice+crash.Config, scenarios.Open), ExpectError: acctest.Pattern("went back to what served before", "the weights are corrupt")},
			resource.TestStep{Config: two + scenarios.Endpoint(twice, scenarios.Open), PreConfig: func() { killOne(t, c, p) }, Check: serves("2")},
			resource.TestStep{Config: two + scenarios.Endpoint(scenarios.Small, scenarios.Open), Check: func(s *terraform.State) error {
				ended(t, c, p, 1)
				count(t, name, traffic)
				return serves("2")(s)
			}},
		)
	})
}

// killOne deletes a pod of the endpoint, and waits until another has taken its place.
func killOne(t *testing.T, c *kube.Cluster, p *scenarios.Platform) {
	t.Helper()
	pods, err := c.Client().CoreV1().Pods(p.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "ml.terraform.io/endpoint=fraud"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	if err := c.Client().CoreV1().Pods(p.Namespace).Delete(t.Context(), pods.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ended(t, c, p, 2)
}

// ended waits until n pods of the endpoint are left, and none is on its way out.
func ended(t *testing.T, c *kube.Cluster, p *scenarios.Platform, n int) {
	t.Helper()
	kube.Eventually(t, 3*time.Minute, "pods to end", func(ctx context.Context) error {
		pods, err := c.Client().CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "ml.terraform.io/endpoint=fraud"})
		if err != nil {
			return err
		}
		if len(pods.Items) != n || slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }) {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		return nil
	})
}

// count ends the requests and says how many were lost.
func count(t *testing.T, name string, traffic map[string]*kube.Traffic) {
	t.Helper()
	total, lost := 0, 0
	for kind, requests := range traffic {
		asked, failures := requests.Stop()
		total, lost = total+asked, lost+len(failures)
		for _, err := range failures {
			t.Errorf("lost a request, with %s: %v", kind, err)
		}
	}
	t.Logf("counted: %s: %d requests while versions changed, failed and were killed, %d lost", name, total, lost)
}

// TestShares counts who answers requests to an endpoint of two deployments.
func TestShares(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	p := open(t, c, modes["gateway"])
	base := p.Provider() + p.Model(t, 1)
	two := func(blue, green int) string {
		return base + scenarios.EndpointWith(fmt.Sprintf("blue = {\n model = ml_model.fraud.version_id\n %[1]s traffic = %[2]d\n }\n green = {\n model = ml_model.fraud.version_id\n %[1]s traffic = %[3]d\n }\n",
			scenarios.Small, blue, green), scenarios.Open)
	}
	shared := func(blue int) func(*terraform.State) error {
		return func(*terraform.State) error {
			to := answering(t, c, p)
			// A gateway goes by a route a moment after its controller has accepted it.
			kube.Eventually(t, time.Minute, "the gateway to go by the shares", func(ctx context.Context) error {
				answered := map[string]int{}
				const requests = 200
				for range requests {
					got, err := to.predict(ctx, false)
					if err != nil {
						return err
					}
					answered[got.Deployment]++
				}
				t.Logf("counted: of %d requests to an endpoint with shares of %d and %d: %v", requests, blue, 100-blue, answered)
				if n := answered["blue"]; n < 2*blue-10 || n > 2*blue+10 || n+answered["green"] != requests {
					return fmt.Errorf("shares of %d and %d gave %v", blue, 100-blue, answered)
				}
				return nil
			})
			return nil
		}
	}
	acctest.Run(t,
		resource.TestStep{Config: two(80, 20), Check: shared(80)},
		resource.TestStep{Config: two(30, 70), Check: shared(30)},
	)
}

// TestAddress: the URL in the state has the name that callers know.
func TestAddress(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	inEachMode(t, func(t *testing.T, _ string, m mode) {
		t.Helper()
		p := open(t, c, m)
		acctest.Run(t, resource.TestStep{Config: p.Provider() + p.Model(t, 1) + scenarios.Endpoint(scenarios.Small, scenarios.Open),
			ConfigStateChecks: []statecheck.StateCheck{acctest.Has("ml_endpoint.fraud", "url", address(p))}})
	})
}

// address has the names that callers know: of the Service in the cluster, or below the
// gateway's domain.
func address(p *scenarios.Platform) urlCheck {
	if p.Gateway {
		return urlCheck("fraud-" + p.Namespace + ".ml.test")
	}
	return urlCheck("fraud." + p.Namespace + ".svc")
}

type urlCheck string

func (u urlCheck) CheckValue(v any) error {
	if s, ok := v.(string); !ok || !strings.Contains(s, string(u)) || !strings.HasSuffix(s, "/v2/models/fraud/infer") {
		return fmt.Errorf("%v is not an address of %s", v, string(u))
	}
	return nil
}

func (u urlCheck) String() string { return string(u) }
