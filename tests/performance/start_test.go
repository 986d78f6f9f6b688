// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestStart measures a process from its start until it has given its schema, as
// Terraform starts it for every command.
func TestStart(t *testing.T) {
	var cpu, rss []float64
	for range 7 {
		p, line := start(t, "", "|grpc|", []string{"TF_PLUGIN_MAGIC_COOKIE=d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2", "PLUGIN_PROTOCOL_VERSIONS=6"})
		// "1|6|unix|<socket>|grpc|", go-plugin's handshake
		conn, err := grpc.NewClient("unix:"+strings.Split(line, "|")[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		// The message itself is not looked into: whatever it holds is unknown to an empty one.
		var schema emptypb.Empty
		if err := conn.Invoke(t.Context(), "/tfplugin6.Provider/GetProviderSchema", &emptypb.Empty{}, &schema, grpc.MaxCallRecvMsgSize(64*mega)); err != nil {
			t.Fatal(err)
		}
		if size := len(schema.ProtoReflect().GetUnknown()); size < 10000 {
			t.Fatalf("a schema of %d bytes is none", size)
		}
		conn.Close()
		used := p.end(t)
		cpu, rss = append(cpu, used.cpu.Seconds()*1000), append(rss, used.rss/mega)
	}
	tell(t, "CPU %.0f ms (median %.0f), RSS %.1f MB", cpu, median(cpu), rss)
	// Whatever else the machine does only adds to the least.
	hold(t, "start to schema, CPU", "%.0f ms", slices.Min(cpu), 150)
	hold(t, "start to schema, RSS", "%.0f MB", median(rss), 80)
}
