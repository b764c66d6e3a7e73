// Puts the files of compose projects together with compose's own loader.
//
// It answers requests from standard input, one JSON value a line, each with one line on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// A request: the files of a project, in the order they are merged, by their names in its folder.
type request struct {
	Folder string   `json:"folder"`
	Files  []string `json:"files"`
}

// An answer: what the files are together, or why they are nothing.
type answer struct {
	Model map[string]any `json:"model,omitempty"`
	Error string         `json:"error,omitempty"`
}

// Set by the linker.
var version = "unknown"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("compose", version)
		return
	}
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	printer := json.NewEncoder(os.Stdout)
	printer.SetEscapeHTML(false)
	for requests.More() {
		var asked request
		check(requests.Decode(&asked))
		var given answer
		model, err := load(asked)
		if err != nil {
			given.Error = err.Error()
		} else {
			given.Model = model
		}
		check(printer.Encode(given))
	}
}

func load(asked request) (map[string]any, error) {
	details := types.ConfigDetails{WorkingDir: asked.Folder, Environment: types.Mapping{}}
	for _, name := range asked.Files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{
			Filename: filepath.Join(asked.Folder, name),
		})
	}
	file := filepath.Join(asked.Folder, ".env")
	if _, err := os.Stat(file); err == nil {
		found, err := dotenv.GetEnvFromFile(map[string]string{}, []string{file})
		if err != nil {
			return nil, err
		}
		details.Environment = found
	}
	return loader.LoadModelWithContext(context.Background(), details, func(options *loader.Options) {
		options.SetProjectName("project", true)
		options.SkipNormalization = true
	})
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
