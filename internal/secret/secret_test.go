// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package secret_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	s := secret.New("hunter2")
	held := struct {
		Key secret.String
		Ptr *secret.String
	}{s, &s}
	data, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v %#v", held, held), string(data)} { //nolint:gocritic // fmt is what is tested
		if strings.Contains(text, "hunter2") {
			t.Errorf("printed the secret: %s", text)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not give the secret")
	}
}
