// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// endpoint finds the endpoint.
func (r *region) endpoint(ctx context.Context, name string) (*sm.DescribeEndpointOutput, error) {
	out, err := r.clients.sm.DescribeEndpoint(ctx, &sm.DescribeEndpointInput{EndpointName: &name})
	if err != nil {
		return nil, failed(err, "read the endpoint %s", name)
	}
	r.learn(out.EndpointArn)
	return out, nil
}

// config finds an endpoint configuration.
func (r *region) config(ctx context.Context, name string) (*sm.DescribeEndpointConfigOutput, error) {
	out, err := r.clients.sm.DescribeEndpointConfig(ctx, &sm.DescribeEndpointConfigInput{EndpointConfigName: &name})
	if err != nil {
		return nil, failed(err, "read the endpoint configuration %s", name)
	}
	r.learn(out.EndpointConfigArn)
	return out, nil
}

// model finds a Model.
func (r *region) model(ctx context.Context, name string) (*sm.DescribeModelOutput, error) {
	out, err := r.clients.sm.DescribeModel(ctx, &sm.DescribeModelInput{ModelName: &name})
	if err != nil {
		return nil, failed(err, "read the model %s", name)
	}
	r.learn(out.ModelArn)
	return out, nil
}

// arnOf is the ARN of something that the account of this region holds, such as
// "model/fraud". The service writes names in ARNs in lower case.
func (r *region) arnOf(ctx context.Context, resource string) (string, error) {
	prefix, ok := r.known()
	if ok {
		return prefix + strings.ToLower(resource), nil
	}
	kind, name, _ := strings.Cut(resource, "/")
	if kind == "model" {
		out, err := r.model(ctx, name)
		if err != nil {
			return "", invisible(err)
		}
		return aws.ToString(out.ModelArn), nil
	}
	out, err := r.config(ctx, name)
	if err != nil {
		return "", invisible(err)
	}
	return aws.ToString(out.EndpointConfigArn), nil
}

// modelsOf are the names of the Models in a configuration, without repetition.
func modelsOf(c *sm.DescribeEndpointConfigOutput) []string {
	var names []string
	if c == nil {
		return nil
	}
	for _, all := range [][]types.ProductionVariant{c.ProductionVariants, c.ShadowProductionVariants} {
		for _, v := range all {
			if name := aws.ToString(v.ModelName); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// reading is all that one full observation has found.
type reading struct {
	now       *sm.DescribeEndpointOutput
	tags      map[string]string
	config    *sm.DescribeEndpointConfigOutput // nil when somebody deleted it
	models    map[string]*sm.DescribeModelOutput
	absent    []string // Models that somebody deleted, sorted
	scaling   map[string]variantScaling
	asleep    map[string]bool // variants whose way back from zero is missing
	leftovers []driver.Leftover
	fired     []string // sentences about the alarms that took the last change back
}

// immutables are the objects that cannot change under their name. They are read
// from here only while an endpoint is in transition, when it is looked at often;
// that one was deleted shows when it has settled.
type immutables struct {
	mu      sync.Mutex
	configs map[string]*sm.DescribeEndpointConfigOutput
	models  map[string]*sm.DescribeModelOutput
}

// ObserveEndpoint reads an endpoint. With known, of an endpoint that is in
// service on the configuration that known was read from, it makes one call, and
// shares two or three with all endpoints of the region that are autoscaled.
func (d *sagemaker) ObserveEndpoint(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return nil, err
	}
	now, err := r.endpoint(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	key.Name = aws.ToString(now.EndpointName) // an import by ARN gives it in lower case
	if known != nil && finished(known) && known.Memo == aws.ToString(now.EndpointConfigName) && now.EndpointStatus == types.EndpointStatusInService {
		return d.refresh(ctx, r, key, now, known)
	}
	read, err := d.read(ctx, r, key, now)
	if err != nil {
		return nil, err
	}
	if components(read.config) {
		return nil, mlerr.New(mlerr.Unsupported, "sagemaker's endpoint %s hosts inference components, which this provider does not manage", key.Name).
			WithHint("Manage it with the tool that made it, or make an ml_endpoint of another name that serves the models themselves")
	}
	return d.state(r, key, read), nil
}

// finished reports whether what is known was complete, so that only what moves
// by itself can have changed since.
func finished(known *driver.EndpointState) bool {
	return known.Memo != "" && known.Repair == "" && known.Marks == driver.Marks{Owned: known.Marks.Owned} && len(known.Leftovers) == 0
}

// components reports whether a configuration is for inference components: its
// variants have no model.
func components(c *sm.DescribeEndpointConfigOutput) bool {
	return c != nil && slices.ContainsFunc(c.ProductionVariants, func(v types.ProductionVariant) bool { return aws.ToString(v.ModelName) == "" })
}

// read makes the calls of a full observation, independent ones at once.
func (d *sagemaker) read(ctx context.Context, r *region, key driver.Key, now *sm.DescribeEndpointOutput) (*reading, error) {
	read := &reading{now: now, models: map[string]*sm.DescribeModelOutput{}, asleep: map[string]bool{}}
	settled := endpointPhase(now.EndpointStatus) != driver.Changing && endpointPhase(now.EndpointStatus) != driver.Deleting
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		read.tags, err = r.tags(gctx, aws.ToString(now.EndpointArn))
		return gone(err) // an endpoint on its way out
	})
	group.Go(func() error { return r.readContent(gctx, read, !settled) })
	group.Go(func() (err error) {
		read.scaling, err = d.scalingOfAll(gctx, r, key.Name, variantNames(now))
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if len(now.ProductionVariants) == 0 && read.config != nil {
		now.ProductionVariants = planned(read.config.ProductionVariants)
		now.ShadowProductionVariants = planned(read.config.ShadowProductionVariants)
	}
	if now.AsyncInferenceConfig != nil {
		for variant, s := range read.scaling {
			if aws.ToInt32(s.target.MinCapacity) > 0 {
				continue
			}
			there, err := r.alarmExists(ctx, wakeAlarm(key.Name, variant))
			if err != nil && !mlerr.Is(err, mlerr.PermissionDenied) {
				return nil, err
			}
			read.asleep[variant] = err == nil && (!there || !s.hasWake(variant)) && !s.wokenByOthers(variant)
		}
	}
	if settled {
		// What a transition refers to cannot be told, so then nothing is left over.
		var err error
		if read.fired, err = r.fired(ctx, now); mlerr.Is(err, mlerr.PermissionDenied) {
			d.log.Warn("why alarms fired is not looked at", "endpoint", key.Name, "error", err)
		} else if err != nil {
			return nil, err
		}
		read.leftovers, err = d.leftovers(ctx, r, key, references(now, read.config), read.tags[tagStandIn])
		return read, err
	}
	return read, nil
}

// planned are the variants of an endpoint that shows none yet, or never had any.
func planned(all []types.ProductionVariant) []types.ProductionVariantSummary {
	var summaries []types.ProductionVariantSummary
	for _, v := range all {
		summaries = append(summaries, types.ProductionVariantSummary{VariantName: v.VariantName, DesiredWeight: v.InitialVariantWeight,
			DesiredInstanceCount: v.InitialInstanceCount, DesiredServerlessConfig: v.ServerlessConfig})
	}
	return summaries
}

// readContent reads the configuration in use and its Models.
func (r *region) readContent(ctx context.Context, read *reading, recent bool) error {
	name := aws.ToString(read.now.EndpointConfigName)
	config, err := remember(&r.fixed.mu, &r.fixed.configs, name, recent, func() (*sm.DescribeEndpointConfigOutput, error) { return r.config(ctx, name) })
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	read.config = config
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range modelsOf(config) {
		group.Go(func() error {
			model, err := remember(&r.fixed.mu, &r.fixed.models, name, recent, func() (*sm.DescribeModelOutput, error) { return r.model(ctx, name) })
			if err == nil {
				err = r.learnServed(ctx, model)
			}
			mu.Lock()
			defer mu.Unlock()
			if mlerr.Is(err, mlerr.NotFound) {
				read.absent = append(read.absent, name)
				return nil
			}
			read.models[name] = model
			return err
		})
	}
	err = group.Wait()
	sort.Strings(read.absent)
	return err
}

// remember reads through a map; it looks into it only if a recent value does.
func remember[T any](mu *sync.Mutex, all *map[string]*T, name string, recent bool, read func() (*T, error)) (*T, error) {
	mu.Lock()
	value, ok := (*all)[name]
	mu.Unlock()
	if ok && recent {
		return value, nil
	}
	value, err := read()
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	if *all == nil {
		*all = map[string]*T{}
	}
	(*all)[name] = value
	return value, nil
}

// state translates a reading.
func (d *sagemaker) state(r *region, key driver.Key, read *reading) *driver.EndpointState {
	now := read.now
	key.Name = aws.ToString(now.EndpointName)
	notes := readNote[declared](read.tags, tagDeclared)
	s := &driver.EndpointState{
		Key: key, NativeID: aws.ToString(now.EndpointArn), Marks: marksIn(read.tags, key.Name),
		Phase: endpointPhase(now.EndpointStatus), Reason: endpointReason(now, read.fired...),
		URL:      d.url(key.Location, key.Name, now.AsyncInferenceConfig != nil),
		Settings: settings(read, notes), Labels: labelsIn(read.tags), Leftovers: read.leftovers,
		Created: aws.ToTime(now.CreationTime).UTC(), Memo: aws.ToString(now.EndpointConfigName),
		Repair: repairOf(now, read.config == nil, read.absent),
	}
	s.InvokePolicy = invokePolicy(s.NativeID, notes.Invokers)
	base := readNote[bounds](read.tags, tagBounds)
	percent, mirror := traffic(now, read.config)
	for _, all := range [][]types.ProductionVariantSummary{now.ProductionVariants, now.ShadowProductionVariants} {
		for i := range all {
			s.Deployments = append(s.Deployments, r.deployment(key, read, s, &all[i], base, percent, mirror))
		}
	}
	sort.Slice(s.Deployments, func(i, j int) bool { return s.Deployments[i].Name < s.Deployments[j].Name })
	return s
}

func (r *region) deployment(key driver.Key, read *reading, s *driver.EndpointState, v *types.ProductionVariantSummary, base bounds, percent, mirror map[string]int) driver.DeploymentState {
	name := aws.ToString(v.VariantName)
	dep := driver.DeploymentState{ID: name, Owned: s.Marks.Owned, Phase: s.Phase, Reason: s.Reason, Replicas: int(aws.ToInt32(v.CurrentInstanceCount))}
	dep.Name, dep.Traffic, dep.Mirror = name, percent[name], mirror[name]
	config := liveVariant(read.config, name)
	if config != nil {
		dep.Compute.InstanceType = instanceTypeOf(config)
		if m := read.models[aws.ToString(config.ModelName)]; m != nil {
			dep.Model, dep.Env = r.served(key, m, modelSettings{s.Settings.SageMaker.ExecutionRoleARN, s.Settings.SageMaker.NetworkIsolation,
				s.Settings.Network.Subnets, s.Settings.Network.SecurityGroups})
		}
	}
	if v.DesiredServerlessConfig != nil || v.CurrentServerlessConfig != nil || (config != nil && config.ServerlessConfig != nil) {
		dep.Compute.InstanceType, dep.Scaling = "", driver.Scaling{Min: 1, Max: 1}
		return dep
	}
	desired := int(aws.ToInt32(v.DesiredInstanceCount))
	if v.DesiredInstanceCount == nil && config != nil {
		desired = int(aws.ToInt32(config.InitialInstanceCount))
	}
	var bounds *[2]int
	if b, ok := base[name]; ok {
		bounds = &b
	}
	g := gauge{key.Name, name, dep.Compute.InstanceType, read.now.AsyncInferenceConfig != nil}
	dep.Scaling = g.scaling(read.scaling[name], desired, bounds)
	if s.Marks.Owned && read.asleep[name] && dep.Scaling.Min == 0 {
		dep.Scaling.Min = 1 // without its alarm it never leaves zero, so it does not have what was wanted
	}
	return dep
}

// settings translates what belongs to the endpoint as a whole. Role, isolation
// and network are those of the first Model: they are the same in all that we
// made.
func settings(read *reading, notes declared) driver.Settings {
	s := driver.Settings{
		Network:        driver.Network{Access: accessPublic},
		Auth:           driver.Auth{Mode: authIAM, Invokers: notes.Invokers},
		RequestTimeout: notes.RequestTimeout,
		SageMaker:      &driver.SageMakerEndpoint{},
	}
	if notes.Access != "" {
		s.Network.Access = notes.Access
	}
	if read.config == nil {
		s.SageMaker.Async = asyncOf(read.now.AsyncInferenceConfig)
		return s
	}
	s.SageMaker.Async, s.Capture = asyncOf(read.config.AsyncInferenceConfig), captureOf(read.config.DataCaptureConfig)
	s.Encryption.Key = aws.ToString(read.config.KmsKeyId)
	if len(read.config.ProductionVariants) > 0 {
		s.SageMaker.Serverless = serverlessOf(read.config.ProductionVariants[0].ServerlessConfig)
	}
	for _, name := range modelsOf(read.config) {
		if m := read.models[name]; m != nil {
			has := settingsOf(m)
			s.SageMaker.ExecutionRoleARN, s.SageMaker.NetworkIsolation = has.role, has.isolated
			s.Network.Subnets, s.Network.SecurityGroups = has.subnets, has.securityGroups
			break
		}
	}
	if s.SageMaker.ExecutionRoleARN == "" {
		s.SageMaker.ExecutionRoleARN = aws.ToString(read.config.ExecutionRoleArn)
	}
	return s
}

// refresh confirms what is known of an endpoint whose configuration has not
// changed: only weights, counts, autoscaling and tags can have.
func (d *sagemaker) refresh(ctx context.Context, r *region, key driver.Key, now *sm.DescribeEndpointOutput, known *driver.EndpointState) (*driver.EndpointState, error) {
	s := *known
	s.Phase, s.Reason, s.Leftovers = endpointPhase(now.EndpointStatus), endpointReason(now), nil
	s.Deployments = slices.Clone(known.Deployments)
	automatic, schedules := false, false
	for _, dep := range known.Deployments {
		automatic = automatic || dep.Scaling.Automatic()
		schedules = schedules || len(dep.Scaling.Schedules) > 0
	}
	var account accountScaling
	var tags map[string]string
	group, gctx := errgroup.WithContext(ctx)
	if automatic {
		group.Go(func() (err error) {
			account, err = d.scalingOfAccount(gctx, r, schedules)
			if mlerr.Is(err, mlerr.PermissionDenied) {
				d.log.Warn("autoscaling is not looked at", "endpoint", key.Name, "error", err)
				account.hidden, err = true, nil
			}
			return err
		})
	}
	if len(known.Labels) > 0 && !automatic { // autoscaling takes the second of two calls
		group.Go(func() (err error) {
			tags, err = r.tags(gctx, s.NativeID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if tags != nil {
		s.Marks, s.Labels = marksIn(tags, key.Name), labelsIn(tags)
	}
	live := map[string]*types.ProductionVariantSummary{}
	for _, all := range [][]types.ProductionVariantSummary{now.ProductionVariants, now.ShadowProductionVariants} {
		for i := range all {
			live[aws.ToString(all[i].VariantName)] = &all[i]
		}
	}
	percent, mirror := traffic(now, nil)
	for i := range s.Deployments {
		dep := &s.Deployments[i]
		v := live[dep.Name]
		if v == nil {
			continue
		}
		dep.Phase, dep.Reason, dep.Replicas = s.Phase, s.Reason, int(aws.ToInt32(v.CurrentInstanceCount))
		dep.Traffic, dep.Mirror = percent[dep.Name], mirror[dep.Name]
		if account.hidden || (s.Settings.SageMaker != nil && s.Settings.SageMaker.Serverless != nil) {
			continue
		}
		base := [2]int{dep.Scaling.Min, dep.Scaling.Max}
		g := gauge{key.Name, dep.Name, dep.Compute.InstanceType, now.AsyncInferenceConfig != nil}
		dep.Scaling = g.scaling(account.of(resourceID(key.Name, dep.Name)), int(aws.ToInt32(v.DesiredInstanceCount)), &base)
	}
	return &s, nil
}

// same compares plain data.
func same(a, b any) bool { return reflect.DeepEqual(a, b) }

func sameLabels(a, b map[string]string) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}
