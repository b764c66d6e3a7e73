package main

import (
	"reflect"
	"strings"

	fcos1_0 "github.com/coreos/butane/config/fcos/v1_0"
	fcos1_1 "github.com/coreos/butane/config/fcos/v1_1"
	fcos1_2 "github.com/coreos/butane/config/fcos/v1_2"
	fcos1_3 "github.com/coreos/butane/config/fcos/v1_3"
	fcos1_4 "github.com/coreos/butane/config/fcos/v1_4"
	fcos1_5 "github.com/coreos/butane/config/fcos/v1_5"
	fcos1_6 "github.com/coreos/butane/config/fcos/v1_6"
	fcos1_7 "github.com/coreos/butane/config/fcos/v1_7"
	fcos1_8_exp "github.com/coreos/butane/config/fcos/v1_8_exp"
	fiot1_0 "github.com/coreos/butane/config/fiot/v1_0"
	fiot1_1_exp "github.com/coreos/butane/config/fiot/v1_1_exp"
	flatcar1_0 "github.com/coreos/butane/config/flatcar/v1_0"
	flatcar1_1 "github.com/coreos/butane/config/flatcar/v1_1"
	flatcar1_2_exp "github.com/coreos/butane/config/flatcar/v1_2_exp"
	openshift4_10 "github.com/coreos/butane/config/openshift/v4_10"
	openshift4_11 "github.com/coreos/butane/config/openshift/v4_11"
	openshift4_12 "github.com/coreos/butane/config/openshift/v4_12"
	openshift4_13 "github.com/coreos/butane/config/openshift/v4_13"
	openshift4_14 "github.com/coreos/butane/config/openshift/v4_14"
	openshift4_15 "github.com/coreos/butane/config/openshift/v4_15"
	openshift4_16 "github.com/coreos/butane/config/openshift/v4_16"
	openshift4_17 "github.com/coreos/butane/config/openshift/v4_17"
	openshift4_18 "github.com/coreos/butane/config/openshift/v4_18"
	openshift4_19 "github.com/coreos/butane/config/openshift/v4_19"
	openshift4_20 "github.com/coreos/butane/config/openshift/v4_20"
	openshift4_21 "github.com/coreos/butane/config/openshift/v4_21"
	openshift4_22 "github.com/coreos/butane/config/openshift/v4_22"
	openshift4_23_exp "github.com/coreos/butane/config/openshift/v4_23_exp"
	openshift4_8 "github.com/coreos/butane/config/openshift/v4_8"
	openshift4_9 "github.com/coreos/butane/config/openshift/v4_9"
	r4e1_0 "github.com/coreos/butane/config/r4e/v1_0"
	r4e1_1 "github.com/coreos/butane/config/r4e/v1_1"
	r4e1_2_exp "github.com/coreos/butane/config/r4e/v1_2_exp"
)

// A version of a variant, with its fields.
type specification struct {
	Variant string  `json:"variant"`
	Version string  `json:"version"`
	Fields  []field `json:"fields"`
}

// A field; `Fields` are those of the mapping, or of the list's items.
type field struct {
	Name string `json:"name"`
	// "text", "integer", "flag", "map", "texts" or "maps".
	Kind string `json:"kind"`
	// Whether the reference can tell an empty value from none.
	Optional bool    `json:"optional"`
	Fields   []field `json:"fields,omitempty"`
}

func allFields() []specification {
	of := func(variant, version string, config any) specification {
		return specification{variant, version, fieldsOf(reflect.TypeOf(config))}
	}
	return []specification{
		of("fcos", "1.0.0", fcos1_0.Config{}),
		of("fcos", "1.1.0", fcos1_1.Config{}),
		of("fcos", "1.2.0", fcos1_2.Config{}),
		of("fcos", "1.3.0", fcos1_3.Config{}),
		of("fcos", "1.4.0", fcos1_4.Config{}),
		of("fcos", "1.5.0", fcos1_5.Config{}),
		of("fcos", "1.6.0", fcos1_6.Config{}),
		of("fcos", "1.7.0", fcos1_7.Config{}),
		of("fcos", "1.8.0-experimental", fcos1_8_exp.Config{}),
		of("flatcar", "1.0.0", flatcar1_0.Config{}),
		of("flatcar", "1.1.0", flatcar1_1.Config{}),
		of("flatcar", "1.2.0-experimental", flatcar1_2_exp.Config{}),
		of("r4e", "1.0.0", r4e1_0.Config{}),
		of("r4e", "1.1.0", r4e1_1.Config{}),
		of("r4e", "1.2.0-experimental", r4e1_2_exp.Config{}),
		of("fiot", "1.0.0", fiot1_0.Config{}),
		of("fiot", "1.1.0-experimental", fiot1_1_exp.Config{}),
		of("openshift", "4.8.0", openshift4_8.Config{}),
		of("openshift", "4.9.0", openshift4_9.Config{}),
		of("openshift", "4.10.0", openshift4_10.Config{}),
		of("openshift", "4.11.0", openshift4_11.Config{}),
		of("openshift", "4.12.0", openshift4_12.Config{}),
		of("openshift", "4.13.0", openshift4_13.Config{}),
		of("openshift", "4.14.0", openshift4_14.Config{}),
		of("openshift", "4.15.0", openshift4_15.Config{}),
		of("openshift", "4.16.0", openshift4_16.Config{}),
		of("openshift", "4.17.0", openshift4_17.Config{}),
		of("openshift", "4.18.0", openshift4_18.Config{}),
		of("openshift", "4.19.0", openshift4_19.Config{}),
		of("openshift", "4.20.0", openshift4_20.Config{}),
		of("openshift", "4.21.0", openshift4_21.Config{}),
		of("openshift", "4.22.0", openshift4_22.Config{}),
		of("openshift", "4.23.0-experimental", openshift4_23_exp.Config{}),
	}
}

func fieldsOf(config reflect.Type) []field {
	var found []field
	for i := range config.NumField() {
		member := config.Field(i)
		if member.Anonymous {
			found = append(found, fieldsOf(member.Type)...)
			continue
		}
		name, _, _ := strings.Cut(member.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			panic("no YAML name: " + config.String() + "." + member.Name)
		}
		found = append(found, fieldOf(name, member.Type))
	}
	return found
}

func fieldOf(name string, kind reflect.Type) field {
	optional := kind.Kind() == reflect.Pointer
	if optional {
		kind = kind.Elem()
	}
	found := field{Name: name, Optional: optional}
	switch kind.Kind() {
	case reflect.String:
		found.Kind = "text"
	case reflect.Int:
		found.Kind = "integer"
	case reflect.Bool:
		found.Kind = "flag"
	case reflect.Struct:
		found.Kind = "map"
		found.Fields = fieldsOf(kind)
	case reflect.Slice:
		switch kind.Elem().Kind() {
		case reflect.String:
			found.Kind = "texts"
		case reflect.Struct:
			found.Kind = "maps"
			found.Fields = fieldsOf(kind.Elem())
		default:
			panic(name + ": a list of " + kind.Elem().String())
		}
	case reflect.Map:
		found.Kind = "texts-by-name"
	default:
		panic(name + ": " + kind.String())
	}
	return found
}
