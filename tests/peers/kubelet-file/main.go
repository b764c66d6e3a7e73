// Answers what a standalone kubelet makes of manifests, up to where it would ask the container runtime.
//
// It answers requests from standard input, one JSON value a line, each with one line on standard output. A request is a
// manifest folder; its files are read, and the pods in them admitted, in the order given.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// A file of a manifest folder.
type file struct {
	Name string `json:"name"`
	// In base64.
	Bytes []byte `json:"bytes"`
}

// What the kubelet makes of a file.
type verdict struct {
	// Why it refuses the file; "panic: …" where it ends.
	Refused string `json:"refused,omitempty"`
	// What it drops: unknown fields and repeated keys.
	Dropped []string `json:"dropped,omitempty"`
	// Why it refuses the pod at admission.
	NotAdmitted string `json:"not_admitted,omitempty"`
}

// Set by the linker.
var version = "unknown"

func main() {
	switch {
	case len(os.Args) == 1:
		answerAll()
	case len(os.Args) == 2 && os.Args[1] == "--version":
		fmt.Println("kubelet-file", version)
	default:
		fmt.Fprintln(os.Stderr, "usage: kubelet-file")
		os.Exit(2)
	}
}

func answerAll() {
	node := newNode()
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := bufio.NewWriter(os.Stdout)
	for requests.More() {
		var folder []file
		check(requests.Decode(&folder))
		print(answers, node.look(folder))
	}
	check(answers.Flush())
}

func print(to interface{ Write([]byte) (int, error) }, value any) {
	printer := json.NewEncoder(to)
	printer.SetEscapeHTML(false)
	check(printer.Encode(value))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
