// Runs the reference Butane compiler, and Ignition's validator, on many configs in one process.
//
// With the argument `fields` it prints what each variant's version may say, read off the reference's own types. Without
// one it answers requests from standard input, one JSON value a line, each with one line on standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	ignition "github.com/coreos/ignition/v2/config"
	"github.com/coreos/vcontext/report"
)

// A request: a Butane config to compile, or an Ignition config to validate.
type request struct {
	Butane   *string `json:"butane"`
	Ignition *string `json:"ignition"`
	FilesDir string  `json:"files_dir"`
	Raw      bool    `json:"raw"`
	Pretty   bool    `json:"pretty"`
}

// An answer. Where the reference panics, `Error` says so.
type answer struct {
	Output  *string `json:"output"`
	Entries []entry `json:"entries"`
	Error   string  `json:"error"`
}

// A finding; line and column are 0 where it has no place.
type entry struct {
	Kind    string `json:"kind"`
	Path    string `json:"path"`
	Line    int64  `json:"line"`
	Column  int64  `json:"column"`
	Message string `json:"message"`
}

// Set by the linker.
var version = "unknown"

func main() {
	switch {
	case len(os.Args) == 1:
		answerAll()
	case len(os.Args) == 2 && os.Args[1] == "fields":
		print(allFields())
	case len(os.Args) == 2 && os.Args[1] == "--version":
		fmt.Println("butane-batch", version)
	default:
		fmt.Fprintln(os.Stderr, "usage: butane-batch [fields]")
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
	given.Entries = []entry{}
	defer func() {
		if reason := recover(); reason != nil {
			given = answer{Entries: []entry{}, Error: fmt.Sprint("panic: ", reason)}
		}
	}()
	var found report.Report
	var err error
	if asked.Butane != nil {
		options := common.TranslateBytesOptions{Pretty: asked.Pretty, Raw: asked.Raw}
		options.FilesDir = asked.FilesDir
		var output []byte
		output, found, err = config.TranslateBytes([]byte(*asked.Butane), options)
		if err == nil {
			text := string(output)
			given.Output = &text
		}
	} else if asked.Ignition != nil {
		_, found, err = ignition.Parse([]byte(*asked.Ignition))
	}
	if err != nil {
		given.Error = err.Error()
	}
	for _, each := range found.Entries {
		line, column := each.Marker.Start()
		given.Entries = append(given.Entries, entry{
			Kind:    each.Kind.String(),
			Path:    each.Context.String(),
			Line:    line,
			Column:  column,
			Message: each.Message,
		})
	}
	return given
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
