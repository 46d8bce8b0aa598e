// SPDX-License-Identifier: Apache-2.0

package assertion

import (
	"errors"
	"fmt"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// subjectVersion is the only form of sub there is.
const subjectVersion = "v2"

const (
	maxSubjectPart = 320 // an address is no longer
	maxGroups      = 100
)

// Subject is the user that the sub of a JWT bearer assertion names (contract
// section 4.1): version|idp_id|username, or those and
// firstname|lastname|email|[groups].
type Subject struct {
	ProviderID, Username       string
	FirstName, LastName, Email string
	Groups                     []string
}

// ParseSubject takes exactly three or exactly seven parts. Anything between
// would leave open which part is which. The error repeats at most one character
// of sub.
func ParseSubject(sub string) (Subject, error) {
	parts := strings.Split(sub, "|")
	if len(parts) != 3 && len(parts) != 7 {
		return Subject{}, fmt.Errorf("sub has %d parts, not 3 or 7", len(parts))
	}
	if err := text.Shown(sub); err != nil {
		return Subject{}, fmt.Errorf("sub %w", err)
	}
	for i, part := range parts[:min(len(parts), 6)] {
		if len(part) > maxSubjectPart {
			return Subject{}, fmt.Errorf("part %d of sub is longer than %d bytes", i+1, maxSubjectPart)
		}
	}
	s := Subject{ProviderID: parts[1], Username: parts[2]}
	switch {
	case parts[0] != subjectVersion:
		return Subject{}, errors.New("sub must begin with v2")
	case s.ProviderID == "":
		return Subject{}, errors.New("sub names no identity provider")
	}
	if _, err := text.Username(s.Username); err != nil {
		return Subject{}, fmt.Errorf("the username in sub %w", err)
	}
	if len(parts) == 3 {
		return s, nil
	}
	s.FirstName, s.LastName, s.Email = parts[3], parts[4], parts[5]
	var err error
	s.Groups, err = parseGroups(parts[6])
	return s, err
}

// parseGroups reads [a,b]; [] is none.
func parseGroups(list string) ([]string, error) {
	inner, opens := strings.CutPrefix(list, "[")
	inner, closes := strings.CutSuffix(inner, "]")
	if !opens || !closes || strings.ContainsAny(inner, "[]") {
		return nil, errors.New("the groups in sub must stand in one pair of brackets")
	}
	var groups []string
	for group := range strings.SplitSeq(inner, ",") {
		if group = strings.TrimSpace(group); group == "" {
			continue
		}
		if len(group) > maxSubjectPart || len(groups) == maxGroups {
			return nil, fmt.Errorf("sub has more than %d groups, or one longer than %d bytes", maxGroups, maxSubjectPart)
		}
		groups = append(groups, group)
	}
	return groups, nil
}
