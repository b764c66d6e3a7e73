// Answers what the kubelet's file source makes of manifests.
//
// With the argument `fields` it prints what a Pod may say, read off the kubelet's own types. Without one it answers
// requests from standard input, one JSON value a line, each with one line on standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	_ "unsafe" // for linkname

	"k8s.io/klog/v2"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/capabilities"
	_ "k8s.io/kubernetes/pkg/kubelet/config"
)

// The name of the node; the kubelet appends it to a pod's.
const nodeName = "node"

// Decodes, defaults and validates one file, as the kubelet does when it has read it.
//
//go:linkname decodePod k8s.io/kubernetes/pkg/kubelet/config.tryDecodeSinglePod
func decodePod(klog.Logger, []byte, func(klog.Logger, *api.Pod) error) (bool, *v1.Pod, error)

// Gives a pod what the kubelet gives it.
//
//go:linkname applyDefaults k8s.io/kubernetes/pkg/kubelet/config.applyDefaults
func applyDefaults(klog.Logger, *api.Pod, string, bool, types.NodeName) error

// A request: one file of the manifest folder.
type request struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// An answer. Where the kubelet panics, `Error` says so.
type answer struct {
	Error string  `json:"error"`
	Pod   *v1.Pod `json:"pod"`
}

// Set by the linker.
var version = "unknown"

func main() {
	// As the kubelet does when it starts: static pods may be privileged.
	capabilities.Setup(true, 0)
	switch {
	case len(os.Args) == 1:
		answerAll()
	case len(os.Args) == 2 && os.Args[1] == "fields":
		print(allTypes())
	case len(os.Args) == 2 && os.Args[1] == "--version":
		fmt.Println("kubelet-file", version)
	default:
		fmt.Fprintln(os.Stderr, "usage: kubelet-file [fields]")
		os.Exit(2)
	}
}

func answerAll() {
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	for requests.More() {
		var asked request
		check(requests.Decode(&asked))
		print(serve(asked))
	}
}

func serve(asked request) (given answer) {
	defer func() {
		if reason := recover(); reason != nil {
			given = answer{Error: fmt.Sprint("panic: ", reason)}
		}
	}()
	logger := klog.Background()
	defaults := func(logger klog.Logger, pod *api.Pod) error {
		return applyDefaults(logger, pod, asked.File, true, nodeName)
	}
	_, pod, err := decodePod(logger, []byte(asked.Text), defaults)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Pod: pod}
}

func print(value any) {
	printer := json.NewEncoder(os.Stdout)
	printer.SetEscapeHTML(false)
	check(printer.Encode(value))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
