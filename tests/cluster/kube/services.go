// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// servicesNamespace is where the pods are that serve tests.
const servicesNamespace = "ml-test-services"

// ObjectStore is an S3 in a pod, which all tests share: a test uses buckets of its
// own. Requests are refused unless they are signed with AccessKey.
type ObjectStore struct {
	URL     string // for pods
	HostURL string // for the test

	Region, AccessKey, SecretKey string
}

// ObjectStore returns the cluster's object store, which the first call starts.
func (c *Cluster) ObjectStore(t *testing.T) *ObjectStore {
	t.Helper()
	c.needImages(t)
	return once(t, c, "s3", func(ctx context.Context) (*ObjectStore, error) {
		s := &ObjectStore{Region: "eu-west-1", AccessKey: "AKIA" + rand.Text()[:16], SecretKey: rand.Text()}
		var err error
		s.URL, s.HostURL, err = c.serve(ctx, service{name: "s3", scheme: "http", ready: "/", env: map[string]string{"DIR": "/data", "AWS_ACCESS_KEY_ID": s.AccessKey}})
		return s, err
	})
}

// Client is the official client.
func (s *ObjectStore) Client() *s3.Client {
	return s3.NewFromConfig(aws.Config{
		Region: s.Region, BaseEndpoint: aws.String(s.HostURL), Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	}, func(o *s3.Options) { o.UsePathStyle = true })
}

// Put stores an object and returns its s3:// address. The bucket is made when there
// is none.
func (s *ObjectStore) Put(t *testing.T, bucket, key string, data []byte) string {
	t.Helper()
	client := s.Client()
	var owned *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(s.Region)}})
	if err != nil && !errors.As(err, &owned) && !errors.As(err, &exists) {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
	return "s3://" + bucket + "/" + key
}

// Env is what the AWS SDK of a pod needs.
func (s *ObjectStore) Env() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL": s.URL, "AWS_REGION": s.Region, "AWS_DEFAULT_REGION": s.Region,
		"AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey, "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// Secret is a manifest of a Secret with Env in it, for envFrom.
func (s *ObjectStore) Secret(name string) string {
	data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name}, "stringData": s.Env()})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(data)
}

// Registry is a registry of images in a pod, without TLS and without credentials.
type Registry struct {
	Address     string // for pods, to begin a reference with
	HostAddress string // the same for the test
}

// Registry returns the cluster's registry, which the first call starts. kubelet does
// not pull from it: containerd wants TLS.
func (c *Cluster) Registry(t *testing.T) *Registry {
	t.Helper()
	c.needImages(t)
	return once(t, c, "registry", func(ctx context.Context) (*Registry, error) {
		inside, host, err := c.serve(ctx, service{name: "registry", scheme: "http", ready: "/v2/"})
		return &Registry{Address: strings.TrimPrefix(inside, "http://"), HostAddress: strings.TrimPrefix(host, "http://")}, err
	})
}

// Issuer is an OpenID Connect issuer in a pod, with a certificate of Cluster.CA, which
// the images of a cluster that was there already do not trust by themselves.
type Issuer struct {
	URL     string // for pods, and the iss of its tokens
	HostURL string // for the test
	CA      []byte // PEM

	client *http.Client
}

// Issuer returns the cluster's issuer of tokens, which the first call starts.
func (c *Cluster) Issuer(t *testing.T) *Issuer {
	t.Helper()
	c.needImages(t)
	return once(t, c, "oidc", func(ctx context.Context) (*Issuer, error) {
		i := &Issuer{CA: c.CA()}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(i.CA)
		i.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
		var err error
		i.URL, i.HostURL, err = c.serve(ctx, service{name: "oidc", scheme: "https", ready: "/keys"})
		return i, err
	})
}

// Token signs a token with these claims; iss, iat and exp are filled in.
func (i *Issuer) Token(t *testing.T, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.HostURL+"/sign", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(data, &answer); err != nil || answer.Token == "" {
		t.Fatalf("the issuer made no token: %s: %s", resp.Status, data)
	}
	return answer.Token
}

// service is one of the image Services.
type service struct {
	name, scheme, ready string
	env                 map[string]string
}

// serve runs a service in a pod, and returns its address for pods and one for the
// host.
func (c *Cluster) serve(ctx context.Context, s service) (inside, host string, err error) {
	_, err = c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: servicesNamespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", "", err
	}
	if err == nil && !c.Own() {
		c.closers = append(c.closers, func() { _ = c.removeNamespace(context.Background(), servicesNamespace) }) // left for its owner to see if it fails
	}
	port := map[string]int32{"http": 80, "https": 443}[s.scheme]
	made, err := c.client.CoreV1().Services(servicesNamespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": s.name}, Ports: []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(8080)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", "", err
	}
	if err := c.account(ctx, servicesNamespace); err != nil {
		return "", "", err
	}
	ip := made.Spec.ClusterIP
	pair, err := c.ca.issue(s.name, nil, ip, "127.0.0.1")
	if err != nil {
		return "", "", err
	}
	if err := c.Apply(ctx, servicesNamespace, s.manifest(c.Image(Services), s.scheme+"://"+ip, pair)); err != nil {
		return "", "", err
	}
	if err := c.PodReady(ctx, servicesNamespace, s.name); err != nil {
		return "", "", errors.Join(err, errors.New(c.describe(ctx, servicesNamespace)))
	}
	address, stop, err := c.Forward(ctx, servicesNamespace, "service/"+s.name, int(port))
	if err != nil {
		return "", "", err
	}
	c.closers = append(c.closers, stop)
	return s.scheme + "://" + ip, s.scheme + "://" + address, nil
}

func (s service) manifest(image, issuer string, pair Pair) string {
	env := []any{map[string]string{"name": "ISSUER", "value": issuer}}
	if s.scheme == "https" {
		env = append(env, map[string]string{"name": "TLS_DIR", "value": "/tls"})
	}
	for name, value := range s.env {
		env = append(env, map[string]string{"name": name, "value": value})
	}
	encoded, err := json.Marshal(env)
	if err != nil {
		panic(err) // strings always encode
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %[1]s}
data: {tls.crt: %[2]s, tls.key: %[3]s}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  enableServiceLinks: false
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: tls, secret: {secretName: %[1]s}}
  containers:
  - name: server
    image: %[4]s
    imagePullPolicy: IfNotPresent
    args: [%[1]s]
    env: %[5]s
    readinessProbe: {httpGet: {path: %[6]s, port: 8080, scheme: %[7]s}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /data}, {name: tls, mountPath: /tls}]
`, s.name, base64.StdEncoding.EncodeToString(pair.Cert), base64.StdEncoding.EncodeToString(pair.Key), image, encoded, s.ready, map[string]string{"http": "HTTP", "https": "HTTPS"}[s.scheme])
}

// once starts a shared thing at the first call. What has failed is not tried again.
func once[T any](t *testing.T, c *Cluster, name string, start func(context.Context) (*T, error)) *T {
	t.Helper()
	c.shared.Lock()
	defer c.shared.Unlock()
	if _, tried := c.shared.started[name]; !tried {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute) // it outlives the test
		defer stop()
		thing, err := start(ctx)
		if err != nil {
			c.shared.started[name] = err
		} else {
			c.shared.started[name] = thing
		}
	}
	thing, ok := c.shared.started[name].(*T)
	if !ok {
		t.Fatalf("starting %s: %v", name, c.shared.started[name])
	}
	return thing
}
