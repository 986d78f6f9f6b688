// Modules that only their manifests are read of; nothing imports them.
module github.com/mlplane/terraform-provider-ml/tools/manifests

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/envoyproxy/gateway v1.9.1
	github.com/kserve/kserve v0.17.0
	sigs.k8s.io/gateway-api v1.4.0
)
