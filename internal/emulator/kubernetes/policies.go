// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// reconcilePolicy accepts an Envoy Gateway policy whose targets exist.
func reconcilePolicy(w *world, ns, name string) error {
	for _, id := range []string{securityPolicy, clientPolicy} {
		u, found, err := lookup[*unstructured.Unstructured](w, id, ns, name)
		if err != nil {
			return err
		}
		if found {
			if err := w.policy(id, u); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) policy(id string, u *unstructured.Unstructured) error {
	targets := items(u.Object, "spec", "targetRefs")
	if t := nested(u.Object, "spec", "targetRef"); t != nil {
		targets = append(targets, t)
	}
	before := items(u.Object, "status", "ancestors")
	ancestors := []any{}
	for _, t := range targets {
		parents, err := w.ancestorsOf(t, u.GetNamespace())
		if err != nil {
			return err
		}
		for _, ancestor := range parents {
			var old []map[string]any
			if len(ancestors) < len(before) {
				old = items(before[len(ancestors)], "conditions")
			}
			accepted := yes("Accepted", "Accepted", "Policy has been accepted.")
			if missing, err := w.missingSecret(u); err != nil {
				return err
			} else if missing != "" {
				accepted = no("Accepted", "Invalid", missing)
			}
			ancestors = append(ancestors, map[string]any{"ancestorRef": ancestor, "controllerName": gatewayController, "conditions": w.conditionsOf(old, u.GetGeneration(), accepted)})
		}
	}
	if len(ancestors) == 0 && u.Object["status"] == nil {
		return nil
	}
	return w.report(id, u, map[string]any{"ancestors": ancestors}, gatewayWriter)
}

// ancestorsOf are the gateways behind a policy's target; none while it does not exist.
func (w *world) ancestorsOf(target map[string]any, ns string) ([]any, error) {
	at := func(namespace, name, section string) any {
		ref := map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": namespace}
		if section != "" {
			ref["sectionName"] = section
		}
		return ref
	}
	if text(target, "kind") == "Gateway" {
		if _, found, err := lookup[*unstructured.Unstructured](w, gateways, ns, text(target, "name")); err != nil || !found {
			return nil, err
		}
		return []any{at(ns, text(target, "name"), text(target, "sectionName"))}, nil
	}
	route, found, err := lookup[*unstructured.Unstructured](w, httpRoutes, ns, text(target, "name"))
	if err != nil || !found {
		return nil, err
	}
	var all []any
	for _, p := range items(route.Object, "spec", "parentRefs") {
		all = append(all, at(orElse(text(p, "namespace"), ns), text(p, "name"), text(p, "sectionName")))
	}
	return all, nil
}

// missingSecret says which keys of a policy are not there.
func (w *world) missingSecret(u *unstructured.Unstructured) (string, error) {
	for _, ref := range items(u.Object, "spec", "apiKeyAuth", "credentialRefs") {
		_, found, err := lookup[*corev1.Secret](w, secrets, orElse(text(ref, "namespace"), u.GetNamespace()), text(ref, "name"))
		if err != nil {
			return "", err
		}
		if !found {
			if err := w.wait(u.GetNamespace(), subject{"policy", u.GetNamespace(), u.GetName()}); err != nil {
				return "", err
			}
			return fmt.Sprintf("APIKeyAuth: secret %s/%s does not exist.", u.GetNamespace(), text(ref, "name")), nil
		}
	}
	return "", nil
}

func reconcileTLSPolicy(w *world, ns, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, tlsPolicies, ns, name)
	if err != nil || !found {
		return err
	}
	keys, err := w.tx.Keys(docObject+gateways, "", "", 1)
	if err != nil || len(keys) == 0 {
		return err
	}
	gatewayNamespace, gateway := splitKey(keys[0])
	before := items(u.Object, "status", "ancestors")
	var old []map[string]any
	if len(before) > 0 {
		old = items(before[0], "conditions")
	}
	return w.report(tlsPolicies, u, map[string]any{"ancestors": []any{map[string]any{"controllerName": gatewayController,
		"ancestorRef": map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway, "namespace": gatewayNamespace},
		"conditions":  w.conditionsOf(old, u.GetGeneration(), yes("Accepted", "Accepted", "Policy has been accepted."))}}}, gatewayWriter)
}

// issuing is how long cert-manager takes on the platform.
const issuing = 10 * time.Second

var certManager = author{manager: "cert-manager-certificates-readiness", subresource: "status"}

// reconcileCertificate issues what a Certificate asks for: a Secret with a certificate
// that nobody trusts.
func reconcileCertificate(w *world, ns, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, certificates, ns, name)
	if err != nil || !found || u.GetDeletionTimestamp() != nil {
		return err
	}
	issuer := "issuers.cert-manager.io"
	at := ns
	if text(u.Object, "spec", "issuerRef", "kind") == "ClusterIssuer" {
		issuer, at = "clusterissuers.cert-manager.io", ""
	}
	secretName := text(u.Object, "spec", "secretName")
	old := items(u.Object, "status", "conditions")
	_, found, err = lookup[*unstructured.Unstructured](w, issuer, at, text(u.Object, "spec", "issuerRef", "name"))
	if err != nil {
		return err
	}
	s, issued, err := lookup[*corev1.Secret](w, secrets, ns, secretName)
	if err != nil {
		return err
	}
	issued = issued && len(s.Data[corev1.TLSCertKey]) > 0
	ready := u.GetCreationTimestamp().Add(w.scaled(issuing))
	if !issued && (!found || w.now.Before(ready)) {
		if found {
			if err := w.at(ready, subject{"certificate", ns, name}); err != nil {
				return err
			}
		}
		return w.report(certificates, u, map[string]any{"conditions": w.conditionsOf(old, u.GetGeneration(), no("Ready", "DoesNotExist", "Issuing certificate as Secret does not exist"),
			yes("Issuing", "DoesNotExist", "Issuing certificate as Secret does not exist"))}, certManager)
	}
	if !issued {
		if err := w.issue(u, secretName); err != nil {
			return err
		}
	}
	return w.report(certificates, u, map[string]any{"revision": int64(1), "notAfter": u.GetCreationTimestamp().Add(90 * 24 * time.Hour).UTC().Format(time.RFC3339),
		"conditions": w.conditionsOf(old, u.GetGeneration(), yes("Ready", "Ready", "Certificate is up to date and has not expired"))}, certManager)
}

func (w *world) issue(u *unstructured.Unstructured, secretName string) error {
	names, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "dnsNames")
	certificate, private, err := selfSigned(names, w.now)
	if err != nil {
		return err
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName, Namespace: u.GetNamespace(), Annotations: map[string]string{"cert-manager.io/certificate-name": u.GetName(),
		"cert-manager.io/alt-names": strings.Join(names, ",")}, Labels: map[string]string{"controller.cert-manager.io/fao": "true"}},
		Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: private, "ca.crt": certificate}}
	_, err = w.create(catalog()[secrets], s, author{manager: "cert-manager-certificates-issuing"})
	return err
}

// selfSigned makes a certificate and its key, in PEM.
func selfSigned(names []string, now time.Time) (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "rehearsal"}, DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	text, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	var c, k bytes.Buffer
	if err := pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return nil, nil, err
	}
	err = pem.Encode(&k, &pem.Block{Type: "EC PRIVATE KEY", Bytes: text})
	return c.Bytes(), k.Bytes(), err
}
