// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// constant is a string constant of the source.
type constant struct {
	name, value string
	// comment is its own, lines and all; group that of the block it stands in.
	comment, group string
}

// constantsOf are the string constants of a file, in its order.
func constantsOf(path string) ([]constant, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var all []constant
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			for i, name := range value.Names {
				if i >= len(value.Values) {
					continue
				}
				literal, ok := value.Values[i].(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					continue
				}
				unquoted, err := strconv.Unquote(literal.Value)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", path, err)
				}
				comment := value.Doc.Text()
				if !group.Lparen.IsValid() {
					comment = group.Doc.Text()
				}
				all = append(all, constant{name.Name, unquoted, comment, strings.TrimSpace(group.Doc.Text())})
			}
		}
	}
	return all, nil
}

// withValues is text that names constants, with their values in place of their names.
func withValues(s string, all []constant) string {
	for _, c := range all {
		s = regexp.MustCompile(`\b`+c.name+`\b`).ReplaceAllString(s, c.value)
	}
	return s
}
