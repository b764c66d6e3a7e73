// Copies an image or artefact out of a registry as skopeo does, by the library that skopeo, podman and rpm-ostree
// share: a policy decides whether its signatures are enough. Takes a policy.json, a folder of registries.d, a folder
// of certificates (certs.d's), a reference and the folder of an OCI layout to be made.
package main

import (
	"context"
	"fmt"
	"os"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

var version = ""

func run(arguments []string) error {
	if len(arguments) != 5 {
		return fmt.Errorf("usage: containers-image POLICY REGISTRIES_D CERTIFICATES //REFERENCE LAYOUT")
	}
	policy, err := signature.NewPolicyFromFile(arguments[0])
	if err != nil {
		return err
	}
	trust, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer trust.Destroy()
	from, err := docker.ParseReference(arguments[3])
	if err != nil {
		return err
	}
	to, err := layout.ParseReference(arguments[4])
	if err != nil {
		return err
	}
	system := &types.SystemContext{
		RegistriesDirPath: arguments[1],
		DockerCertPath:    arguments[2],
	}
	options := &copy.Options{
		SourceCtx:        system,
		RemoveSignatures: true,
		PreserveDigests:  true,
	}
	_, err = copy.Image(context.Background(), trust, to, from, options)
	return err
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
