// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command terraform-provider-ml is the Terraform provider, and serves its
// rehearsal to other clients.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/provider"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "rehearse" {
		if err := rehearse(ctx, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "rehearse:", err)
			os.Exit(1) //nolint:gocritic // nothing is left to clean up
		}
		return
	}
	debug := flag.Bool("debug", false, "serve for a debugger")
	printVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *printVersion {
		fmt.Println(version)
		return
	}
	// Terraform ends the provider itself; an interrupt reaches it as a request to stop.
	stop()
	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{Address: provider.Address, Debug: *debug, ProtocolVersion: 6})
	if err != nil {
		log.Fatal(err)
	}
}

// rehearse serves a rehearsal directory in the foreground.
func rehearse(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("rehearse", flag.ContinueOnError)
	dir := flags.String("state-dir", ".ml-rehearsal", "the rehearsal's directory, as in rehearsal.state_dir")
	listen := flags.String("listen", "127.0.0.1:9470", "loopback address to serve on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return emulator.Serve(ctx, emulator.Options{StateDir: *dir, Listen: *listen}, os.Stdout)
}
