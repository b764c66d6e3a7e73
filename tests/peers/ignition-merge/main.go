// Merges Ignition configs with Ignition's own code. Standard input is a stream of JSON objects with the configs
// `parent` and `child` and what somebody else made of the two, `merged`; standard output has a line for each, with
// `expected` and `found`, which are equal when that was right. Configs of older specifications are translated to the
// newest one first, as Ignition does before it merges, so that all of them can be compared.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	config "github.com/coreos/ignition/v2/config/v3_7_experimental"
	"github.com/coreos/ignition/v2/config/v3_7_experimental/types"
)

// Set by the linker.
var version = "unknown"

type input struct {
	Parent, Child, Merged json.RawMessage
}

type output struct {
	Expected types.Config `json:"expected"`
	Found    types.Config `json:"found"`
}

func parse(name string, raw []byte) (types.Config, error) {
	parsed, report, err := config.ParseCompatibleVersion(raw)
	if err != nil {
		return types.Config{}, fmt.Errorf("%s: %w: %s", name, err, report.String())
	}
	return parsed, nil
}

func merge(in input) (output, error) {
	parent, err := parse("parent", in.Parent)
	if err != nil {
		return output{}, err
	}
	child, err := parse("child", in.Child)
	if err != nil {
		return output{}, err
	}
	found, err := parse("merged", in.Merged)
	return output{Expected: config.Merge(parent, child), Found: found}, err
}

func run() error {
	reader, writer := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for count := 1; ; count++ {
		var in input
		if err := reader.Decode(&in); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("object %d: %w", count, err)
		}
		out, err := merge(in)
		if err != nil {
			return fmt.Errorf("object %d: %w", count, err)
		}
		if err := writer.Encode(out); err != nil {
			return err
		}
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("ignition-merge", version)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ignition-merge:", err)
		os.Exit(1)
	}
}
