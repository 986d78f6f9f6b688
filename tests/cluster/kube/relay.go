// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"io"
	"net"
	"sync"
)

// relay listens on the loopback and hands each connection to what dial reaches,
// until it is stopped.
func relay(dial func(context.Context) (io.ReadWriteCloser, error)) (address string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // stopped
			}
			open.Go(func() {
				defer func() { _ = client.Close() }() // all has been said
				if server, err := dial(ctx); err == nil {
					join(ctx, client, server)
				}
			})
		}
	})
	return listener.Addr().String(), func() {
		cancel()
		_ = listener.Close() // ends Accept
		open.Wait()
	}, nil
}

// join copies both ways until both sides have ended, or ctx.
func join(ctx context.Context, a, b io.ReadWriteCloser) {
	defer context.AfterFunc(ctx, func() {
		_, _ = a.Close(), b.Close() // ends both copies
	})()
	var both sync.WaitGroup
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // an end in the middle is for the two to notice
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
	_, _ = a.Close(), b.Close()
}
