// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/json"
	"math"
	"time"
)

// Typed gives the members of an answer in JSON the types that the service model
// says, for protocols that tell an integer from a float: int64, float64 or
// time.Time. Members that the model does not know are left out.
func Typed(service, operation string, answer []byte) (map[string]any, error) {
	out := map[string]any{}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			return nil, err
		}
	}
	m := models()[service]
	if m == nil || m.Outputs[operation] == "" {
		return map[string]any{}, nil
	}
	typed, _ := m.typed(m.Outputs[operation], out).(map[string]any)
	return typed, nil
}

func (m *serviceModel) typed(name string, value any) any {
	s := m.Shapes[name]
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			target := s.Value
			if s.Type == "structure" {
				target = s.Members[key]
			}
			if target != "" && item != nil {
				out[key] = m.typed(target, item)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = m.typed(s.Element, item)
		}
		return out
	case float64:
		switch s.Type {
		case "integer", "long":
			return int64(v)
		case "timestamp":
			return time.UnixMilli(int64(math.Round(v * 1000))).UTC()
		}
	}
	return value
}
