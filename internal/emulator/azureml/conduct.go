// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"net/http"
	"slices"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
)

// wireStatus is what a caller gets of a container's answer: a managed endpoint says 424
// of whatever is no success, and the router of a cluster 502 of what has failed.
func wireStatus(d *deployment, status int) int {
	switch {
	case status < http.StatusMultipleChoices:
		return status
	case !d.managed() && status >= http.StatusInternalServerError:
		return http.StatusBadGateway
	}
	return http.StatusFailedDependency
}

// conduct has a container answer as its version is told to.
func (r *request) conduct(a *answer, n int) (latency time.Duration, err error) {
	var how fault.Conduct
	if r.o.Conduct != nil {
		if how, err = r.o.Conduct(a.model, a.version); err != nil {
			return 0, err
		}
	}
	status, latency := how.Answer(n)
	if a.status == http.StatusOK && status != http.StatusOK {
		a.status, a.reason = status, http.StatusText(status)
	}
	return latency, nil
}

// mirrored copies a request to the endpoint's shadow, whose answer nobody gets, if it is
// its turn.
func (r *request) mirrored(e *endpoint, all []*deployment, to scoring) error {
	mirror := pick(e.ARM.Properties.MirrorTraffic, e.Turns)
	if mirror == "" {
		return nil
	}
	n := e.Mirrored[mirror]
	e.Mirrored[mirror]++
	i := slices.IndexFunc(all, func(d *deployment) bool { return same(d.at().name(), mirror) && d.Ever })
	if i < 0 {
		return nil
	}
	a, err := r.describe(all[i], to)
	if err != nil {
		return err
	}
	latency, err := r.conduct(&a, n)
	if err != nil {
		return err
	}
	return metering.Record(r.tx, seriesOf(all[i]), r.now(), a.status, latency)
}
