// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
)

// TestTheCatalogIsTheServices compares the hardware catalog with the service's own
// enumeration, in both directions: what is missing cannot be used, and what is too
// much is refused only by the apply.
func TestTheCatalogIsTheServices(t *testing.T) {
	t.Parallel()
	enumerated := map[string]bool{}
	for _, v := range types.ProductionVariantInstanceType("").Values() {
		enumerated[string(v)] = true
		if _, ok := hardware.Lookup(string(driver.SageMaker), string(v)); !ok {
			t.Errorf("%s is in the service's enumeration and not in the catalog", v)
		}
	}
	for _, m := range hardware.All(string(driver.SageMaker)) {
		if !enumerated[m.Name] {
			t.Errorf("%s is in the catalog and not in the service's enumeration", m.Name)
		}
	}
}
