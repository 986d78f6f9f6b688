// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"errors"
	"os"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// encodeConfig writes a kubeconfig of one user.
func encodeConfig(server string, ca []byte, user Pair) ([]byte, error) {
	config := api.NewConfig()
	config.Clusters["ml-test"] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos["ml-test"] = &api.AuthInfo{ClientCertificateData: user.Cert, ClientKeyData: user.Key}
	config.Contexts["ml-test"] = &api.Context{Cluster: "ml-test", AuthInfo: "ml-test"}
	config.CurrentContext = "ml-test"
	return clientcmd.Write(*config)
}

func newMapper(client *kubernetes.Clientset) *restmapper.DeferredDiscoveryRESTMapper {
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
}

func writePair(file string, p Pair) error {
	return errors.Join(os.WriteFile(file+".crt", p.Cert, 0o600), os.WriteFile(file+".key", p.Key, 0o600))
}

func readPair(file string) (p Pair, err error) {
	if p.Cert, err = os.ReadFile(file + ".crt"); err != nil {
		return p, err
	}
	p.Key, err = os.ReadFile(file + ".key")
	return p, err
}
