// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package hardware

import "fmt"

// QuotaCores are the vCPU of quota, in its VM family, that Azure ML wants for that
// many instances of one deployment: it counts a fifth more instances, rounded up,
// which it takes for upgrades. What is deployed beside another needs its own.
func (t Type) QuotaCores(instances int) int {
	if !t.NoReserve {
		instances = (instances*12 + 9) / 10
	}
	return instances * int(t.VCPU)
}

// QuotaWords says how QuotaCores come about.
func (t Type) QuotaWords(instances int) string {
	what, verb := "instances", "need"
	if instances == 1 {
		what, verb = "instance", "needs"
	}
	need := fmt.Sprintf("%d %s of %s (%g vCPU each) %s a quota of %d vCPU in the VM family %s", instances, what, t.Name, t.VCPU, verb, t.QuotaCores(instances), t.Family())
	if t.NoReserve {
		return need + "; Azure ML keeps none of these in reserve"
	}
	return need + ": Azure ML reserves 20 percent more instances for upgrades, rounded up"
}
