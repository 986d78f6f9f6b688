// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// The kinds of leftovers, in the order of their removal.
const (
	leftoverAlarm  = "alarm"
	leftoverConfig = "endpoint configuration"
	leftoverModel  = "model"
)

// inUse are the names that an endpoint refers to, now or in a pending change.
type inUse struct {
	configs, models []string
	pending         string // configuration that a change goes over to, "" for none
}

func references(now *sm.DescribeEndpointOutput, current *sm.DescribeEndpointConfigOutput) inUse {
	var use inUse
	if now != nil {
		use.configs = append(use.configs, aws.ToString(now.EndpointConfigName))
		if p := now.PendingDeploymentSummary; p != nil {
			use.pending = aws.ToString(p.EndpointConfigName)
			use.configs = append(use.configs, use.pending)
		}
	}
	use.models = modelsOf(current)
	return use
}

// computedNames are the forms of the names that we compute for an endpoint:
// those of configurations, and those of Models with their version's mark.
func computedNames(endpoint string) (configs, models computed) {
	zeros := strings.Repeat("0", 64)
	mark := versionMark(driver.VersionRef{})
	configStem := strings.TrimSuffix(naming.Name(endpoint, maxName, zeros), zeros[:10])
	modelStem := strings.TrimSuffix(naming.Name(endpoint, maxName-len(mark), zeros), zeros[:10])
	return computed{configStem, regexp.MustCompile(`^[0-9a-f]{10}$`)}, computed{modelStem, regexp.MustCompile(`^[0-9a-f]{10}-v[0-9a-f]{7}$`)}
}

// computed is a form of names: a stem, to list by, and what follows it.
type computed struct {
	stem string
	rest *regexp.Regexp
}

func (c computed) match(name string) bool {
	rest, ok := strings.CutPrefix(name, c.stem)
	return ok && c.rest.MatchString(rest)
}

// EndpointLeftovers lists what an endpoint that is gone has left behind.
func (d *sagemaker) EndpointLeftovers(ctx context.Context, key driver.Key) ([]driver.Leftover, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return nil, err
	}
	return d.leftovers(ctx, r, key, inUse{}, "")
}

// leftovers lists our configurations and Models that are not in use, and the alarms
// of changes that are over. Without the
// permission to list, which nothing else needs, it finds none. standIn is a
// configuration of ours under a foreign name, or "".
func (d *sagemaker) leftovers(ctx context.Context, r *region, key driver.Key, use inUse, standIn string) ([]driver.Leftover, error) {
	configForm, modelForm := computedNames(key.Name)
	var configs, models []string
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		configs, err = r.configNames(gctx, configForm.stem)
		return err
	})
	group.Go(func() (err error) {
		models, err = r.modelNames(gctx, modelForm.stem)
		return err
	})
	if err := group.Wait(); mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("leftovers are not looked for", "endpoint", key.Name, "error", err)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []driver.Leftover
	if standIn != "" && !slices.Contains(use.configs, standIn) {
		all = append(all, driver.Leftover{Kind: leftoverConfig, Name: standIn})
	}
	for _, name := range configs {
		if configForm.match(name) && !slices.Contains(use.configs, name) {
			all = append(all, driver.Leftover{Kind: leftoverConfig, Name: name})
		}
	}
	for _, name := range models {
		if modelForm.match(name) && !slices.Contains(use.models, name) {
			all = append(all, driver.Leftover{Kind: leftoverModel, Name: name})
		}
	}
	watching, err := r.alarmNames(ctx, configForm.stem)
	if mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("alarms that a change has left behind are not looked for", "endpoint", key.Name, "error", err)
	} else if err != nil {
		return nil, err
	}
	for _, name := range watching {
		if (computed{configForm.stem, alarmRest}).match(name) {
			all = append(all, driver.Leftover{Kind: leftoverAlarm, Name: name})
		}
	}
	return r.onlyOurs(ctx, key.Name, all)
}

// onlyOurs leaves out what does not carry the endpoint's marks.
func (r *region) onlyOurs(ctx context.Context, endpoint string, all []driver.Leftover) ([]driver.Leftover, error) {
	ours := make([]bool, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range all {
		group.Go(func() error {
			_, tags, err := r.tagsOf(ctx, all[i])
			ours[i] = marksIn(tags, endpoint).Owned
			all[i].Ending = ours[i] && tags[tagEnding] == "true"
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var kept []driver.Leftover
	for i, l := range all {
		if ours[i] {
			kept = append(kept, l)
		}
	}
	return kept, nil
}

// tagsOf reads the ARN and the tags of a configuration or Model; one that is gone
// has none.
func (r *region) tagsOf(ctx context.Context, l driver.Leftover) (id string, tags map[string]string, err error) {
	kind := "endpoint-config/"
	switch l.Kind {
	case leftoverModel:
		kind = "model/"
	case leftoverAlarm:
		if id, err = r.alarmARN(ctx, l.Name); err != nil || id == "" {
			return "", nil, err
		}
		tags, err = r.alarmTags(ctx, id)
		return id, tags, gone(err)
	}
	if id, err = r.arnOf(ctx, kind+l.Name); err != nil {
		return "", nil, err
	}
	tags, err = r.tags(ctx, id)
	return id, tags, gone(err)
}

// markEnding marks what the endpoint refers to, and is ours, as to be removed
// with it.
func (r *region) markEnding(ctx context.Context, endpoint string) error {
	use, err := r.inUse(ctx, endpoint)
	if err != nil {
		return err
	}
	var all []driver.Leftover
	for _, name := range use.configs {
		all = append(all, driver.Leftover{Kind: leftoverConfig, Name: name})
	}
	for _, name := range use.models {
		all = append(all, driver.Leftover{Kind: leftoverModel, Name: name})
	}
	for _, l := range all {
		id, tags, err := r.tagsOf(ctx, l)
		if err == nil && marksIn(tags, endpoint).Owned && tags[tagEnding] == "" {
			err = gone(r.mark(ctx, id, tagEnding, "true"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *region) configNames(ctx context.Context, stem string) ([]string, error) {
	var names []string
	pages := sm.NewListEndpointConfigsPaginator(r.clients.sm, &sm.ListEndpointConfigsInput{NameContains: &stem, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "list the endpoint configurations like %s", stem)
		}
		for _, c := range page.EndpointConfigs {
			names = append(names, aws.ToString(c.EndpointConfigName))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *region) modelNames(ctx context.Context, part string) ([]string, error) {
	var names []string
	pages := sm.NewListModelsPaginator(r.clients.sm, &sm.ListModelsInput{NameContains: &part, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "list the models like %s", part)
		}
		for _, m := range page.Models {
			names = append(names, aws.ToString(m.ModelName))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Sweep removes alarms, configurations, then Models. Right before each it looks again at
// the marks and at what the endpoint refers to: neither the configuration in
// use nor the one of a pending change may go, nor their Models.
func (d *sagemaker) Sweep(ctx context.Context, key driver.Key, leftovers []driver.Leftover) error {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return err
	}
	for _, kind := range []string{leftoverAlarm, leftoverConfig, leftoverModel} {
		for _, l := range leftovers {
			if l.Kind != kind {
				continue
			}
			if err := r.sweepOne(ctx, key, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *region) sweepOne(ctx context.Context, key driver.Key, l driver.Leftover) error {
	_, tags, err := r.tagsOf(ctx, l)
	if err != nil || !marksIn(tags, key.Name).Owned {
		return err
	}
	use, err := r.inUse(ctx, key.Name)
	if err != nil {
		return err
	}
	if l.Kind == leftoverAlarm {
		if use.pending != "" && strings.HasPrefix(l.Name, use.pending+"-") {
			return nil
		}
		return r.dropAlarm(ctx, l.Name)
	}
	if l.Kind == leftoverConfig {
		if slices.Contains(use.configs, l.Name) {
			return nil
		}
		_, err := r.clients.sm.DeleteEndpointConfig(ctx, &sm.DeleteEndpointConfigInput{EndpointConfigName: &l.Name})
		return gone(failed(err, "delete the endpoint configuration %s", l.Name))
	}
	if slices.Contains(use.models, l.Name) {
		return nil
	}
	_, err = r.clients.sm.DeleteModel(ctx, &sm.DeleteModelInput{ModelName: &l.Name})
	return gone(failed(err, "delete the model %s", l.Name))
}

// inUse reads what the endpoint refers to at this moment.
func (r *region) inUse(ctx context.Context, endpoint string) (inUse, error) {
	now, err := r.endpoint(ctx, endpoint)
	if mlerr.Is(err, mlerr.NotFound) {
		return inUse{}, nil
	}
	if err != nil {
		return inUse{}, err
	}
	use := references(now, nil)
	for _, name := range use.configs {
		config, err := r.config(ctx, name)
		if err != nil && !mlerr.Is(err, mlerr.NotFound) {
			return inUse{}, err
		}
		use.models = append(use.models, modelsOf(config)...)
	}
	return use, nil
}
