// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const prefix = "/api/v1/"

// Name is what a request is called in faults.json and in the list of calls:
// "prometheus.query".
func Name(r *http.Request) string {
	return "prometheus." + strings.ReplaceAll(strings.Trim(strings.TrimPrefix(r.URL.Path, prefix), "/"), "/", ".")
}

// Serve answers a request.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/-/healthy":
		fmt.Fprintln(w, "Prometheus Server is Healthy.")
		return
	case "/-/ready":
		fmt.Fprintln(w, "Prometheus Server is Ready.")
		return
	}
	answer, ok := map[string]func(r *http.Request) (any, error){
		"query": s.query, "query_range": s.queryRange, "rules": s.rules, "alerts": s.alerts, "labels": s.labelNames,
	}[strings.TrimPrefix(r.URL.Path, prefix)]
	name, values := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, prefix+"label/"), "/values")
	if values && strings.HasPrefix(r.URL.Path, prefix) {
		answer, ok = func(r *http.Request) (any, error) { return s.labelValues(r, name) }, true
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, prefix+"query") || r.Method == http.MethodPost && r.URL.Path == prefix+"labels"
	switch {
	case !ok:
		http.NotFound(w, r)
	case !reads:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	default:
		data, err := answer(r)
		respond(w, data, err)
	}
}

// Refuse answers with an error of somebody else's making: a scripted fault.
func Refuse(w http.ResponseWriter, status int, kind, message string) {
	write(w, status, map[string]any{"status": "error", "errorType": kind, "error": message})
}

func respond(w http.ResponseWriter, data any, err error) {
	if err == nil {
		write(w, http.StatusOK, map[string]any{"status": "success", "data": data})
		return
	}
	if f, ok := errors.AsType[*failure](err); ok {
		Refuse(w, f.status(), f.kind, f.Error())
		return
	}
	Refuse(w, http.StatusInternalServerError, "internal", err.Error())
}

// write writes JSON. A client that has gone away is no concern of the platform's.
func write(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (s *Service) query(r *http.Request) (any, error) {
	at := s.o.Now()
	if text := r.FormValue("time"); text != "" {
		var err error
		if at, err = moment("time", text); err != nil {
			return nil, err
		}
	}
	v, err := s.instant(r.Context(), r.FormValue("query"), at)
	if err != nil {
		return nil, err
	}
	return map[string]any{"resultType": v.Type(), "result": v}, nil
}

func (s *Service) queryRange(r *http.Request) (any, error) {
	from, err := moment("start", r.FormValue("start"))
	if err != nil {
		return nil, err
	}
	to, err := moment("end", r.FormValue("end"))
	if err != nil {
		return nil, err
	}
	step, err := duration(r.FormValue("step"))
	const points = 11000 // what Prometheus gives at most
	switch {
	case err != nil:
		return nil, err
	case to.Before(from):
		return nil, &failure{badData, errors.New("invalid parameter \"end\": end timestamp must not be before start time")}
	case step <= 0:
		return nil, &failure{badData, errors.New("invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer")}
	case to.Sub(from)/step > points:
		return nil, &failure{badData, errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")}
	}
	v, err := s.span(r.Context(), r.FormValue("query"), from, to, step)
	if err != nil {
		return nil, err
	}
	return map[string]any{"resultType": v.Type(), "result": v}, nil
}

// duration reads one as the API takes it: seconds, or "1m30s".
func duration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, &failure{badData, fmt.Errorf("invalid parameter \"step\": cannot parse %q to a valid duration", text)}
	}
	return time.Duration(d), nil
}

func (s *Service) labelNames(r *http.Request) (any, error) {
	h, err := s.read(r.Context(), s.o.Now())
	if err != nil {
		return nil, err
	}
	all, _, err := h.LabelNames(r.Context(), nil)
	return append([]string{}, all...), err
}

func (s *Service) labelValues(r *http.Request, name string) (any, error) {
	if !model.LegacyValidation.IsValidLabelName(name) {
		return nil, &failure{badData, fmt.Errorf("invalid label name: %q", name)}
	}
	h, err := s.read(r.Context(), s.o.Now())
	if err != nil {
		return nil, err
	}
	all, _, err := h.LabelValues(r.Context(), name, nil, []*labels.Matcher{}...)
	return append([]string{}, all...), err
}
