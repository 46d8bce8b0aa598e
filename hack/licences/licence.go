// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
)

// allowed are the licences, by SPDX identifier, that dependencies may have.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unlicense"}

// phrases of licence texts, most specific first.
var phrases = []struct{ name, text string }{
	{"Apache-2.0", "apache license version 2"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"AGPL", "gnu affero general public license"},
	{"LGPL", "gnu lesser general public license"},
	{"GPL", "gnu general public license"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "permission to use, copy, modify, and distribute this software"},
	{"MIT", "permission is hereby granted, free of charge"},
	{"Unlicense", "free and unencumbered software released into the public domain"},
	{"BSD-3-Clause", "neither the name of"},
	{"BSD-2-Clause", "redistribution and use in source and binary forms"},
}

// licenceOf names the licence of a module by the text of its licence file.
func licenceOf(dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "[LlC][IiO][CcP][EeY]*"))
	if err != nil || len(files) == 0 {
		return "missing"
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if name := classify(string(text)); name != "" {
			return name
		}
	}
	return "unknown"
}

func classify(text string) string {
	// Line breaks and commas differ from copy to copy.
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	text = strings.ReplaceAll(text, "license, version", "license version")
	for _, phrase := range phrases {
		if strings.Contains(text, phrase.text) {
			return phrase.name
		}
	}
	return ""
}
