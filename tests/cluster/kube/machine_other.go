// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package kube

import (
	"context"
	"errors"
	"net"
)

// machine needs the namespaces of Linux.
type machine struct {
	at                places
	name, state, logs string
}

const nodeName, apiAddress = "", ""

func newMachine(context.Context, places) (*machine, error) { return nil, errors.ErrUnsupported }

func (*machine) controlPlane(*authority) error { return errors.ErrUnsupported }

func (*machine) containers(context.Context, <-chan error) error { return errors.ErrUnsupported }

func (*machine) workers() error { return errors.ErrUnsupported }

func (*machine) ctr(context.Context, ...string) (string, error) { return "", errors.ErrUnsupported }

func (*machine) start(string, []string, ...string) error { return errors.ErrUnsupported }

func (*machine) dial(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }

func (*machine) find(string) string { return "" }

func (*machine) ended() error { return errors.ErrUnsupported }

func (*machine) stop() error { return errors.ErrUnsupported }
