// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/jsonobject"
)

// Parameters are the parameters of a request, each given once.
type Parameters map[string]string

// ReadParameters reads the parameters of a POST from a form or from a JSON
// object; the vendor's clients send either (contract section 1). A parameter
// without a value counts as absent, one of those known that is repeated is an
// error (https://www.rfc-editor.org/rfc/rfc6749#section-3.2). All others are
// ignored: in a form they may be repeated, in JSON have any type. Parameters of
// the query are not read: credentials must not be in a URL.
func ReadParameters(w http.ResponseWriter, r *http.Request, known ...string) (Parameters, error) {
	media, err := parameterMedia(r)
	if err != nil {
		return nil, err
	}
	body, err := ReadBody(w, r, MaxParameterBytes)
	if err != nil {
		return nil, err
	}
	if media == MediaJSON {
		return parametersOfJSON(body, known)
	}
	return parametersOfForm(string(body), known)
}

func parametersOfForm(body string, known []string) (Parameters, error) {
	var wrong error
	p := make(Parameters, len(known)/2)
	err := FormLimits{MaxParameterBytes, MaxParameters}.each(body, func(name, value string) {
		if wrong == nil && slices.Contains(known, name) {
			wrong = p.add(name, value)
		}
	})
	if err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "%s", err.Error())
	}
	if wrong != nil {
		return nil, wrong
	}
	return p, nil
}

func parametersOfJSON(body []byte, known []string) (Parameters, error) {
	rules := jsonobject.Rules{Members: MaxParameters, Known: func(name string) bool { return slices.Contains(known, name) }}
	object, err := rules.Read(body)
	var wrong *jsonobject.Error
	switch {
	case errors.As(err, &wrong) && wrong.Kind == jsonobject.Doubled:
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is given more than once", printable(wrong.Path))
	case err != nil:
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body is not a valid JSON object: %s", printable(err.Error()))
	}
	p := Parameters{}
	for _, name := range known {
		switch value := object[name].(type) {
		case nil:
		case string:
			if err := p.add(name, value); err != nil {
				return nil, err
			}
		default:
			return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s must be a string", name)
		}
	}
	return p, nil
}

// add notes one value. Empty ones are as good as not there, also when they
// repeat (https://www.rfc-editor.org/rfc/rfc6749#section-3.2).
func (p Parameters) add(name, value string) error {
	switch _, twice := p[name]; {
	case value == "":
		return nil
	case twice:
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is given more than once", name)
	case !utf8.ValidString(value):
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is not valid UTF-8", name)
	case strings.ContainsRune(value, 0):
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s has a NUL character", name)
	}
	p[name] = value
	return nil
}
