// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"context"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// versions lists a model's versions, the oldest first.
func (r *region) versions(ctx context.Context, name string) ([]wireModel, error) {
	all, err := pages[wireModel](ctx, r, call{name: "models.listVersions", doing: "list the versions of " + name, path: r.model(name) + ":listVersions"}, "models")
	if err == nil && len(all) == 0 {
		err = mlerr.New(mlerr.NotFound, "the model %s has no versions", name)
	}
	slices.SortFunc(all, func(a, b wireModel) int {
		m, _ := strconv.Atoi(a.VersionID)
		n, _ := strconv.Atoi(b.VersionID)
		return cmp.Compare(m, n)
	})
	return all, err
}

func (r *region) getModel(ctx context.Context, name, version string) (*wireModel, error) {
	var m wireModel
	err := r.do(ctx, call{name: "models.get", doing: "read the version " + version + " of the model " + name, path: r.model(name) + "@" + version, out: &m})
	return &m, err
}

// ObserveModel reads all versions with one call; what the name itself has shows in
// each of them.
func (d *vertex) ObserveModel(ctx context.Context, key driver.Key, _ *driver.ModelState) (*driver.ModelState, error) {
	r, subject := d.at(key.Location), "models/"+key.Name
	running, err := r.running(ctx, subject)
	if err != nil {
		return nil, err
	}
	versions, err := r.versions(ctx, key.Name)
	if err != nil && !mlerr.Is(err, mlerr.NotFound) {
		return nil, err
	}
	upload := find(running, uploading, "")
	if len(versions) == 0 && upload == nil {
		return nil, err
	}
	s := &driver.ModelState{Key: key, NativeID: r.model(key.Name)}
	if len(versions) > 0 {
		if err := d.proven(key, versions[0].Name); err != nil {
			return nil, err
		}
		r.fill(s, versions)
	}
	for i := range s.Versions {
		if del := cmp.Or(find(running, deleting, s.Versions[i].Version), find(running, deleting, "")); del != nil && del.failure == nil {
			s.Versions[i].Phase = driver.Deleting
		}
	}
	if upload != nil {
		v := upload.version
		if upload.failure != nil {
			v.Phase, v.Reason = driver.Failed, upload.failure.Error()
			r.told(subject, uploading)
		}
		s.Versions = append(s.Versions, v)
	}
	if len(versions) == 0 {
		s.Marks = driver.Marks{Owned: true, Incomplete: true}
	}
	r.told(subject, deleting)
	return s, nil
}

// fill translates versions. Whether the name is ours shows in labels that its first
// apply ends with. Until then a name of whose versions all are ours is one whose
// creation was cut off, and any other is not ours.
func (r *region) fill(s *driver.ModelState, versions []wireModel) {
	adopted, foreign := 0, 0
	var labels map[string]string
	for i := range versions {
		m := &versions[i]
		v := versionOf(m)
		v.ServedBy = r.servers(m.DeployedModels)
		if !v.Owned {
			foreign++
		}
		if labels == nil || v.Owned {
			labels = m.Labels // a foreign version has some of its own
		}
		if m.Labels[labelManagedBy] == managedBy && m.Labels[labelModel] == s.Key.Name {
			s.Marks.Owned = true
		}
		if n, err := strconv.Atoi(m.Labels[labelAdopted]); err == nil {
			adopted = max(adopted, n)
		}
		s.Versions = append(s.Versions, v)
		s.Description = m.Description
		s.EncryptionKey = cmp.Or(s.EncryptionKey, m.EncryptionSpec.key())
	}
	if !s.Marks.Owned && foreign == 0 {
		s.Marks = driver.Marks{Owned: true, Incomplete: true}
	}
	s.Labels = users(labels)
	for i := range s.Versions {
		v := &s.Versions[i]
		n, _ := strconv.Atoi(v.Version)
		v.Adopted = !v.Owned && n <= adopted
	}
}

// servers are the endpoints that serve a version.
func (r *region) servers(by []deployedRef) []string {
	var all []string
	for _, b := range by {
		id := driver.Key{Platform: driver.VertexAI, Location: r.spelled(b.Endpoint), Name: segment(b.Endpoint, "endpoints")}.ID()
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	sort.Strings(all)
	return all
}

// spelled is the location in a name that the API gave, with the project as the user
// spells it: answers have its number.
func (r *region) spelled(name string) string {
	project := segment(name, "projects")
	if projectNumber.MatchString(project) {
		project = r.project
	}
	return project + "/" + cmp.Or(segment(name, "locations"), r.name)
}

// ObserveVersion reads one version.
func (d *vertex) ObserveVersion(ctx context.Context, ref driver.VersionRef) (*driver.Version, error) {
	r := d.at(ref.Key.Location)
	m, err := r.getModel(ctx, ref.Key.Name, ref.Version)
	if err != nil {
		return nil, err
	}
	v := versionOf(m)
	v.ServedBy = r.servers(m.DeployedModels)
	v.Approval = cmp.Or(v.Approval, driver.Pending) // of a version whose publication is not complete
	return &v, nil
}

// versionOf translates a version. One that was made by hand is taken to be approved:
// nobody has said otherwise.
func versionOf(m *wireModel) driver.Version {
	v := driver.Version{
		Version: m.VersionID, NativeID: m.Name + "@" + m.VersionID, Hash: long(m.Labels[labelHash]),
		Approval: driver.Approval(m.Labels[labelApproval]), Phase: driver.Ready,
		Artifact: driver.Artifact{URI: m.ArtifactURI, Digest: long(m.Labels[labelDigest])},
	}
	v.Owned = v.Hash != ""
	if m.VersionCreateTime != nil {
		v.CreatedAt = m.VersionCreateTime.UTC()
	}
	if !v.Owned && v.Approval == "" {
		v.Approval = driver.Approved
	}
	for _, a := range m.VersionAliases {
		if a != aliasDefault {
			v.Aliases = append(v.Aliases, a)
		}
	}
	sort.Strings(v.Aliases)
	if rec, ok := readRecord(m.VersionDescription); ok {
		v.Artifact.Format, v.Serving, v.Metadata = rec.Format, rec.Serving, nonEmpty(rec.Metadata)
		return v
	}
	v.Description = m.VersionDescription
	v.Artifact.Format = "custom"
	if c := m.ContainerSpec; c != nil {
		v.Serving, v.Artifact.Format = servingOf(c), guessFormat(c.ImageURI)
	}
	return v
}

// servingOf is what the platform shows of a container.
func servingOf(c *containerSpec) driver.Serving {
	s := driver.Serving{Image: c.ImageURI, Command: c.Command, Args: c.Args, PredictPath: c.PredictRoute, HealthPath: c.HealthRoute}
	for _, e := range c.Env {
		if s.Env == nil {
			s.Env = map[string]string{}
		}
		s.Env[e.Name] = e.Value
	}
	if len(c.Ports) > 0 {
		s.Port = c.Ports[0].ContainerPort
	}
	if len(c.GRPCPorts) > 0 {
		s.GRPCPort = c.GRPCPorts[0].ContainerPort
	}
	return s
}

// guessFormat reads the format of a version made by hand off its image: the prebuilt
// ones are named for their framework.
func guessFormat(image string) string {
	repository, _, _ := strings.Cut(path.Base(image), ":")
	for _, g := range []struct{ part, format string }{
		{"sklearn", "sklearn"}, {"xgboost", "xgboost"}, {"tf2", "tensorflow"}, {"tf_opt", "tensorflow"}, {"huggingface", "huggingface"}, {"vllm", "huggingface"},
		{"triton", "triton"}, {"pytorch", "pytorch"}, {"mlflow", "mlflow"}, {"onnx", "onnx"},
	} {
		if strings.Contains(repository, g.part) {
			return g.format
		}
	}
	return "custom"
}
