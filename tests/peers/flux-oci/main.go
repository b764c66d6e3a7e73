// Pulls an artefact as `flux pull artifact` does, by the library of Flux's own programs, and unpacks its first layer.
// Takes a reference and a folder; prints what the artefact says about itself. The program `flux` itself cannot be built
// from its module, which lacks the manifests that it embeds.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/oci"
)

var version = ""

func run(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: flux-oci REFERENCE FOLDER")
	}
	client := oci.NewClient(oci.DefaultOptions())
	metadata, err := client.Pull(context.Background(), arguments[0], arguments[1])
	if err != nil {
		return err
	}
	fmt.Printf("created %s\nsource %s\nrevision %s\ndigest %s\n",
		metadata.Created, metadata.Source, metadata.Revision, metadata.Digest)
	return nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
