// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// device is how a type of accelerator is asked for: the extended resource that its
// device plugin offers, and the labels by which nodes tell which one they have.
type device struct {
	resource corev1.ResourceName
	labels   map[string][]string // values by label; any one label suffices
}

const nvidia = corev1.ResourceName("nvidia.com/gpu")

// nvidiaGPU has the products of NVIDIA's GPU feature discovery, and the names that
// GKE and Karpenter give it.
func nvidiaGPU(gke, karpenter string, products ...string) device {
	labels := map[string][]string{"nvidia.com/gpu.product": products}
	if gke != "" {
		labels["cloud.google.com/gke-accelerator"] = []string{gke}
	}
	if karpenter != "" {
		labels["karpenter.k8s.aws/instance-gpu-name"] = []string{karpenter}
	}
	return device{nvidia, labels}
}

// devices are by accelerator type. Sources: the labels of NVIDIA's GPU feature
// discovery, of GKE's node pools, of Karpenter's AWS provider, and of AMD's node
// labeller; the resources are those of the vendors' device plugins.
var devices = map[string]device{
	"nvidia-t4":           nvidiaGPU("nvidia-tesla-t4", "t4", "Tesla-T4", "NVIDIA-T4"),
	"nvidia-l4":           nvidiaGPU("nvidia-l4", "l4", "NVIDIA-L4"),
	"nvidia-a10g":         nvidiaGPU("", "a10g", "NVIDIA-A10G", "NVIDIA-A10"),
	"nvidia-l40s":         nvidiaGPU("", "l40s", "NVIDIA-L40S"),
	"nvidia-k80":          nvidiaGPU("nvidia-tesla-k80", "k80", "Tesla-K80"),
	"nvidia-v100":         nvidiaGPU("nvidia-tesla-v100", "v100", "Tesla-V100-SXM2-16GB", "Tesla-V100-SXM2-32GB", "Tesla-V100-SXM3-32GB", "Tesla-V100-PCIE-16GB", "Tesla-V100-PCIE-32GB"),
	"nvidia-a100-40gb":    nvidiaGPU("nvidia-tesla-a100", "a100", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
	"nvidia-a100-80gb":    nvidiaGPU("nvidia-a100-80gb", "a100", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
	"nvidia-h100":         nvidiaGPU("nvidia-h100-80gb", "h100", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
	"nvidia-h200":         nvidiaGPU("nvidia-h200-141gb", "h200", "NVIDIA-H200", "NVIDIA-H200-NVL"),
	"nvidia-b200":         nvidiaGPU("nvidia-b200", "b200", "NVIDIA-B200"),
	"nvidia-b300":         nvidiaGPU("", "b300", "NVIDIA-B300"),
	"nvidia-rtx-pro-6000": nvidiaGPU("nvidia-rtx-pro-6000", "rtx-pro-server-6000", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"),
	"amd-mi300x":          {"amd.com/gpu", map[string][]string{"amd.com/gpu.product-name": {"AMD_Instinct_MI300X_OAM"}}},
	"aws-inferentia1":     {"aws.amazon.com/neuron", map[string][]string{"karpenter.k8s.aws/instance-accelerator-name": {"inferentia"}}},
	"aws-inferentia2":     {"aws.amazon.com/neuron", map[string][]string{"karpenter.k8s.aws/instance-accelerator-name": {"inferentia2"}}},
	"aws-trainium1":       {"aws.amazon.com/neuron", map[string][]string{"karpenter.k8s.aws/instance-accelerator-name": {"trainium"}}},
	"aws-trainium2":       {"aws.amazon.com/neuron", map[string][]string{"karpenter.k8s.aws/instance-accelerator-name": {"trainium2"}}},
	"google-tpu-v5e":      {"google.com/tpu", map[string][]string{"cloud.google.com/gke-tpu-accelerator": {"tpu-v5-lite-podslice", "tpu-v5-lite-device"}}},
	"intel-gaudi":         {"habana.ai/gaudi", nil},
}

// accelerator is the extended resource that a replica asks for.
func accelerator(c *driver.Compute) (corev1.ResourceName, bool) {
	if c.Accelerator == nil {
		return "", false
	}
	d, ok := devices[c.Accelerator.Type]
	return d.resource, ok
}

// place says on which nodes the pods may run.
func (s *serving) place(spec *corev1.PodSpec) {
	c := &s.dep.Compute
	if c.InstanceType != "" {
		if spec.NodeSelector == nil {
			spec.NodeSelector = map[string]string{}
		}
		spec.NodeSelector[corev1.LabelInstanceTypeStable] = c.InstanceType
	}
	name, ok := accelerator(c)
	if !ok {
		return
	}
	// Nodes with accelerators are usually kept for pods that say they want one.
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{Key: string(name), Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	labels := devices[c.Accelerator.Type].labels
	if len(labels) == 0 {
		return
	}
	var any []corev1.NodeSelectorTerm
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		any = append(any, corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: label, Operator: corev1.NodeSelectorOpIn, Values: labels[label]}}})
	}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: any}}}
}
