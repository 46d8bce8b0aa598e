// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/atomicfile"
)

// FileOutput publishes the token as a set of files that is replaced as a whole.
type FileOutput struct {
	Dir atomicfile.Dir
}

var _ Output = FileOutput{}

// Names of the files that the sidecar's directory has beside the parts of the
// token.
const (
	// FileAuthorizationHeader holds the value of the header Authorization.
	FileAuthorizationHeader = "authorization-header"
	// FileStatus holds a Report. It is there when the others are not, too.
	FileStatus = "status.json"
)

// Report is the content of status.json: whether there is a token, and why there
// is no newer one.
type Report struct {
	// Valid: there is a token beside it.
	Valid bool `json:"valid"`
	// IssuedAt and ExpiresAt are the token's; zero and left out without one.
	IssuedAt  time.Time `json:"issued_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// IssuedFor is the identity of the token's purpose.
	IssuedFor Purpose `json:"issued_for,omitempty"`
	// Reason and Message say why the last attempt failed; empty: it did not.
	Reason  Reason `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Load implements Output.
func (o FileOutput) Load() (*Held, error) {
	files, err := atomicfile.Read(o.Dir.Path)
	if err != nil {
		return nil, err
	}
	token, err := ParseFiles(files)
	if err != nil {
		return nil, err
	}
	var report Report
	if err := json.Unmarshal(files[FileStatus], &report); err != nil || !report.Valid {
		return nil, fmt.Errorf("%s does not tell of the token beside it", FileStatus)
	}
	token.IssuedAt = report.IssuedAt
	return &Held{Token: token, Purpose: string(report.IssuedFor)}, nil
}

// Publish implements Output. A token is withdrawn also where nothing can be
// written, without room for a status.
func (o FileOutput) Publish(token *Held, problem error) error {
	files, err := o.files(token, problem)
	if err != nil {
		return err
	}
	if err := o.Dir.Write(files); err == nil || token != nil {
		return err
	}
	if err := o.Dir.Clear(); err != nil {
		return err
	}
	_ = o.Dir.Write(files) // there is room now, where room was what it lacked
	return nil
}

func (FileOutput) files(token *Held, problem error) (map[string][]byte, error) {
	files, report := map[string][]byte{}, Report{}
	if token != nil {
		files = Files(token.Token)
		files[FileAuthorizationHeader] = []byte("Bearer " + token.AccessToken)
		report = Report{
			Valid: true, IssuedFor: Purpose(token.Purpose).Identity(),
			IssuedAt: token.IssuedAt.UTC().Truncate(time.Second), ExpiresAt: token.ExpiresAt.UTC().Truncate(time.Second),
		}
	}
	if problem != nil {
		report.Reason, report.Message = ReasonOf(problem), Explain(problem)
	}
	content, err := json.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", FileStatus, err)
	}
	files[FileStatus] = content
	return files, nil
}
