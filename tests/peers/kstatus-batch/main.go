// Says how far objects are, as kstatus does.
//
// It answers requests from standard input, one JSON value a line, each with one line on standard output. A request is a
// Kubernetes object.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type answer struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	// Why there is no status.
	Error string `json:"error,omitempty"`
}

// Set by the linker.
var version = "unknown"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("kstatus-batch", version)
		return
	}
	requests := bufio.NewScanner(os.Stdin)
	requests.Buffer(nil, 1<<24)
	answers := bufio.NewWriter(os.Stdout)
	for requests.Scan() {
		line, err := json.Marshal(look(requests.Bytes()))
		check(err)
		_, err = answers.Write(append(line, '\n'))
		check(err)
	}
	check(requests.Err())
	check(answers.Flush())
}

func look(text []byte) (given answer) {
	// It asserts types where it could ask for them.
	defer func() {
		if panicked := recover(); panicked != nil {
			given = answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	var object unstructured.Unstructured
	if err := object.UnmarshalJSON(text); err != nil {
		return answer{Error: err.Error()}
	}
	result, err := status.Compute(&object)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Status: string(result.Status), Message: result.Message}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kstatus-batch:", err)
		os.Exit(1)
	}
}
