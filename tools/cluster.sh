#!/bin/sh
# Makes what the clusters of tests/cluster run, in .cache/cluster: programs built
# from the modules that tools/*/go.mod pin, Debian packages unpacked and not
# installed, and other projects' manifests. What is there already is kept; what the
# machine has itself, in KUBEBUILDER_ASSETS or on PATH, is used where it fits.
set -eu
cd "$(dirname "$0")/.."
cache=$PWD/.cache/cluster

say() { echo "cluster-tools: $*" >&2; }

if [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ] || [ -n "${ML_TEST_KUBECONFIG:-}" ]; then
	say "no cluster is started here: that takes root on Linux, and no ML_TEST_KUBECONFIG"
	exit 0
fi
mkdir -p "$cache/bin"
exec 9>"$cache/tools.lock"
flock 9

# done_before STEP INPUTS: whether the step was done with these inputs.
done_before() {
	wanted=$(echo "$2" | sha256sum)
	[ "$(cat "$cache/$1.done" 2>/dev/null)" = "$wanted" ]
}

finished() { echo "$wanted" >"$cache/$1.done"; }

# build MODULE PROGRAM... builds programs of a module; a program is NAME=PACKAGE.
build() {
	module=$1
	shift
	if done_before "$module" "$* $(go version) $(cat "tools/$module/go.mod" "tools/$module/go.sum")"; then return; fi
	flags=
	if [ "$module" = kubernetes ]; then
		version=$(sed -n 's|^.*k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' tools/kubernetes/go.mod)
		number=k8s.io/component-base/version
		minor=${version#v1.}
		minor=${minor%%.*}
		flags="-X $number.gitVersion=$version -X $number.gitMajor=1 -X $number.gitMinor=${minor:?}"
	fi
	for program in "$@"; do
		name=${program%%=*}
		began=$(date +%s)
		if [ "$module" = kubernetes ] && found=$(fitting "$name" "$version"); then
			ln -sf "$found" "$cache/bin/$name"
			say "$name is $found"
			continue
		fi
		say "building $name"
		rm -f "$cache/bin/$name"
		CGO_ENABLED=0 go build -C "tools/$module" -trimpath -ldflags "-s -w $flags" -o "$cache/bin/$name" "${program#*=}"
		say "built $name in $(($(date +%s) - began)) s"
	done
	finished "$module"
}

# fitting NAME VERSION finds a program of this version that the machine has.
fitting() {
	for at in "${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS/$1}" "$(command -v "$1" || true)"; do
		if [ -x "$at" ] && "$at" --version 2>/dev/null | grep -qxF "Kubernetes $2"; then
			echo "$at"
			return
		fi
	done
	return 1
}

packages="etcd-server prometheus containerd runc containernetworking-plugins busybox-static bash-static
iptables libxtables12 libip4tc2 libip6tc2 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libseccomp2"

# unpack fetches the packages and lays their files out below debian/usr, as on a
# machine where they are installed. The lists of packages are its own too.
unpack() {
	if done_before debian "$packages"; then return; fi
	if ! command -v apt-get >/dev/null; then
		say "there is no apt-get; etcd, prometheus, containerd, runc, the CNI plugins, iptables, static busybox and bash-static have to be on the machine"
		return
	fi
	say "unpacking" $packages "below .cache/cluster/debian; nothing is installed"
	scratch=$cache/apt
	rm -rf "$scratch" "$cache/debian"
	mkdir -p "$scratch/lists/partial" "$scratch/archives/partial" "$cache/debian"
	private="-q -o Dir::State::lists=$scratch/lists -o Dir::Cache=$scratch -o APT::Sandbox::User=root"
	apt-get $private update >"$scratch/log" 2>&1 || say "apt-get update: $(tail -1 "$scratch/log")"
	(cd "$scratch" && apt-get $private download $packages >>log 2>&1) || { cat "$scratch/log" >&2; exit 1; }
	for package in "$scratch"/*.deb; do
		dpkg-deb -x "$package" "$scratch/root"
	done
	mv "$scratch/root/usr" "$cache/debian/"
	for dir in bin sbin lib; do # of packages from before all was below /usr
		if [ -d "$scratch/root/$dir" ]; then cp -a "$scratch/root/$dir/." "$cache/debian/usr/$dir/"; fi
	done
	for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		ln -sf xtables-nft-multi "$cache/debian/usr/sbin/$name" # as installing does
	done
	rm -rf "$scratch"
	finished debian
}

# manifests copies the definitions that tests apply.
manifests() {
	if done_before manifests "$(cat tools/cluster.sh tools/manifests/go.mod tools/manifests/go.sum)"; then return; fi
	rm -rf "$cache/manifests"
	copy gateway sigs.k8s.io/gateway-api config/crd/standard/gateway*.yaml
	copy kserve github.com/kserve/kserve config/crd/full/serving*.yaml config/crd/full/clusterstoragecontainer/serving*.yaml
	copy kserve-config github.com/kserve/kserve config/configmap/inferenceservice.yaml config/webhook/manifests.yaml
	crds=charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io
	copy envoy-gateway github.com/envoyproxy/gateway ${crds}_securitypolicies.yaml ${crds}_clienttrafficpolicies.yaml
	copy cert-manager github.com/cert-manager/cert-manager deploy/crds/cert-manager.io_certificates.yaml deploy/crds/cert-manager.io_issuers.yaml deploy/crds/cert-manager.io_clusterissuers.yaml
	finished manifests
}

# copy TO MODULE FILE... copies files of a module that tools/manifests/go.mod pins.
copy() {
	to=$cache/manifests/$1
	from=$(cd tools/manifests && go mod download -json "$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	shift 2
	mkdir -p "$to"
	for pattern in "$@"; do
		cp "$from"/$pattern "$to/"
	done
	chmod -R u+w "$to" # modules are read-only
}

unpack
manifests
kubernetes=k8s.io/kubernetes/cmd
build kubernetes kube-apiserver=$kubernetes/kube-apiserver kube-controller-manager=$kubernetes/kube-controller-manager \
	kubelet=$kubernetes/kubelet kube-scheduler=$kubernetes/kube-scheduler kube-proxy=$kubernetes/kube-proxy
build proxy kube-rbac-proxy=github.com/brancz/kube-rbac-proxy/cmd/kube-rbac-proxy
build kserve kserve-manager=github.com/kserve/kserve/cmd/manager
build gateway traefik=github.com/traefik/traefik/v3/cmd/traefik
