// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plugin/lint"
)

// Statuses that CanI exits with beside 0 for yes.
const (
	ExitNo       = 1
	ExitNotKnown = 3
)

// CanIOptions are what an app would ask for: what is empty is not asked about.
type CanIOptions struct {
	// TokenServer the app would be on; empty: the default one.
	TokenServer string
	GrantTypes  []string
	Scopes      []string
	// OrganizationID and EnvironmentID are the context of all Scopes.
	OrganizationID, EnvironmentID string
	RedirectHosts                 []string
	Audience                      string
}

// Verdict is whether a namespace may have what was asked about.
type Verdict struct {
	Namespace   string `json:"namespace"`
	TokenServer string `json:"tokenServer"`
	Allowed     bool   `json:"allowed"`
	// Rule is the one that allows it, or else the one that comes nearest; empty:
	// none is for the namespace, or nobody can tell.
	Rule    string   `json:"rule,omitempty"`
	Missing []string `json:"missing,omitempty"`
	Message string   `json:"message"`
	// By is who said so: the rules, or a dry run of the API server's.
	By string `json:"by"`
}

// Who says what is allowed.
const (
	byValidation = "validation rules"
	byRules      = "access rules"
	byDryRun     = "dry run"
)

// CanI tells whether an app of the namespace may have what is asked about: by the
// rules that every app keeps, and by the access rules of its TokenServer. Where
// the user may not read these, the API server is asked in a dry run. No is Exit
// with ExitNo, and what nobody can tell is Exit with ExitNotKnown.
func (p *Plugin) CanI(ctx context.Context, o CanIOptions) error {
	o.TokenServer = cmp.Or(o.TokenServer, v1alpha1.DefaultTokenServer)
	app := p.asked(o)
	verdict, err := p.invalid(ctx, app)
	if err == nil && verdict == nil {
		verdict, err = p.verdict(ctx, app)
	}
	if isNotReadable(err) {
		verdict, err = p.tried(ctx, app, err)
	}
	if err != nil {
		return &Exit{ExitNotKnown, err}
	}
	names := []string{nameOf("TokenServer", o.TokenServer)}
	err = p.write(answer{verdict, names, func(w io.Writer) {
		word := map[bool]string{true: "yes", false: "no"}[verdict.Allowed]
		_, _ = fmt.Fprintf(w, "%s: %s\n", word, line(verdict.Message))
	}})
	if err == nil && !verdict.Allowed {
		return &Exit{Status: ExitNo}
	}
	return err
}

// Check says what is wrong with the question.
func (o CanIOptions) Check() error {
	if len(o.GrantTypes)+len(o.Scopes)+len(o.RedirectHosts) == 0 && o.Audience == "" {
		return errors.New("nothing is asked about: give --grant, --scope, --redirect-host or --audience, or --list for all that is allowed")
	}
	for _, host := range o.RedirectHosts {
		if strings.Contains(host, "/") {
			return fmt.Errorf("--redirect-host %s: it must be a host alone, such as shop.example.com: without scheme, port and path", host)
		}
	}
	return nil
}

// asked is an app that asks for just what is asked about.
func (p *Plugin) asked(o CanIOptions) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, GenerateName: "can-i-"}}
	app.Spec = v1alpha1.ConnectedAppSpec{
		TokenServerRef: &v1alpha1.TokenServerReference{Name: o.TokenServer}, Audience: v1alpha1.Audience(o.Audience),
	}
	for _, grant := range o.GrantTypes {
		if grant == "jwt-bearer" || grant == oauth.GrantJWTBearer {
			grant = oauth.GrantJWTBearer // nobody types that
			// Access rules take any key.
			app.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}}
		}
		app.Spec.GrantTypes = append(app.Spec.GrantTypes, v1alpha1.GrantType(grant))
	}
	for _, scope := range o.Scopes {
		app.Spec.Scopes = append(app.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: scope, OrganizationID: o.OrganizationID, EnvironmentID: o.EnvironmentID})
	}
	for _, host := range o.RedirectHosts {
		app.Spec.RedirectURIs = append(app.Spec.RedirectURIs, v1alpha1.RedirectURI("https://"+host+"/"))
	}
	return app
}

// invalid is no for what no app can have, whatever the access rules say; nil: an app
// can. It is not asked about a whole app, which needs more.
func (p *Plugin) invalid(ctx context.Context, app *v1alpha1.ConnectedApp) (*Verdict, error) {
	if len(app.Spec.GrantTypes) == 0 {
		return nil, nil
	}
	whole := app.DeepCopy()
	whole.APIVersion, whole.Kind = v1alpha1.GroupVersion.String(), kindApp
	has := func(grant v1alpha1.GrantType) bool { return slices.Contains(whole.Spec.GrantTypes, grant) }
	if has(oauth.GrantRefreshToken) && !has(oauth.GrantAuthorizationCode) && !has(oauth.GrantClientCredentials) {
		whole.Spec.GrantTypes = append(whole.Spec.GrantTypes, oauth.GrantAuthorizationCode)
	}
	if has(oauth.GrantAuthorizationCode) && len(whole.Spec.RedirectURIs) == 0 {
		whole.Spec.RedirectURIs = somewhere
	}
	manifest, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	report, err := lint.Check(ctx, []lint.File{{Data: manifest}}, lint.Options{Namespace: p.Namespace, SystemNamespace: p.system()})
	if err != nil || report.Errors == 0 {
		return nil, err
	}
	verdict := &Verdict{Namespace: p.Namespace, TokenServer: app.TokenServerName(), By: byValidation, Message: "no app can have that"}
	for _, finding := range report.Findings {
		reason := finding.Field + ": " + strings.TrimPrefix(finding.Message, "Invalid value: ")
		verdict.Missing = append(verdict.Missing, reason)
		verdict.Message += "; " + reason
	}
	return verdict, nil
}

// somewhere is where no rule allows to send people.
var somewhere = []v1alpha1.RedirectURI{"https://can-i.connectedapps.invalid/"}

// verdict is what the access rules say, as the manager reads them.
func (p *Plugin) verdict(ctx context.Context, app *v1alpha1.ConnectedApp) (*Verdict, error) {
	server, policy, err := p.rules(ctx, app.TokenServerName())
	if err != nil {
		return nil, err
	}
	v := plan.Judge(plan.Desired(app, nil, server.Spec.WorkloadIssuer), policy.Namespace, policy.Rules, policy.OrganizationID)
	return &Verdict{
		Namespace: p.Namespace, TokenServer: server.Name, Allowed: v.Allowed, Rule: v.Rule, Missing: v.Missing, Message: v.Message(), By: byRules,
	}, nil
}

func (p *Plugin) rules(ctx context.Context, name string) (*v1alpha1.TokenServer, *plan.Policy, error) {
	server, err := p.tokenServer(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	policy, err := p.policy(ctx, server, p.Namespace)
	return server, policy, err
}

// tried asks the API server to create the app in a dry run, where the admission
// policy for access rules answers as the manager would. Whether that one is in
// force shows at an app that no rule can allow.
func (p *Plugin) tried(ctx context.Context, app *v1alpha1.ConnectedApp, hidden error) (*Verdict, error) {
	notKnown := func(why string) error {
		return fmt.Errorf("cannot tell whether it is allowed: %w, and %s; ask the platform team, or apply the app and read its condition PolicyAccepted", hidden, why)
	}
	if len(app.Spec.GrantTypes) == 0 {
		return nil, notKnown("a dry run needs a whole app: give --grant")
	}
	switch err := p.dryRun(ctx, impossible(app)); {
	case err == nil:
		return nil, notKnown(fmt.Sprintf("the cluster has no admission policy for access rules, or no TokenServer %s", app.TokenServerName()))
	case apierrors.IsForbidden(err) && !refusedByRules(err):
		return nil, notKnown("you may not create a ConnectedApp in namespace " + p.Namespace + " either")
	case !refusedByRules(err):
		return nil, worded(err, "asking the API server in a dry run")
	}
	verdict := &Verdict{Namespace: p.Namespace, TokenServer: app.TokenServerName(), By: byDryRun}
	switch err := p.dryRun(ctx, app); {
	case err == nil:
		verdict.Allowed = true
		verdict.Message = allowedByAdmission(app)
	case refusedByRules(err):
		verdict.Message = refusalOfAdmission(err)
	default:
		return nil, notKnown("the API server does not take such an app: " + err.Error())
	}
	return verdict, nil
}

// impossible is an app that no rule can allow, on the TokenServer of another: where
// it is admitted, no admission policy judges.
func impossible(app *v1alpha1.ConnectedApp) *v1alpha1.ConnectedApp {
	return &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: "can-i-"},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: app.Spec.TokenServerRef, GrantTypes: []v1alpha1.GrantType{oauth.GrantAuthorizationCode},
			RedirectURIs: somewhere,
		},
	}
}

// allowedByAdmission is what is said of an app that the admission policy admits.
func allowedByAdmission(app *v1alpha1.ConnectedApp) string {
	return fmt.Sprintf("an access rule of TokenServer %s allows it; which one is for the platform team to see", app.TokenServerName())
}

// refusalOfAdmission is what the admission policy says.
func refusalOfAdmission(err error) string {
	_, message, _ := strings.Cut(err.Error(), "denied request: ")
	return message
}

func (p *Plugin) dryRun(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	return p.Client.Create(ctx, app.DeepCopy(), client.DryRunAll)
}

// refusedByRules tells whether the policy of config/admission/access.yaml refuses.
func refusedByRules(err error) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'connectedapps-access'")
}

// Allowance is all that apps of a namespace may have.
type Allowance struct {
	Namespace   string                `json:"namespace"`
	TokenServer string                `json:"tokenServer"`
	Rules       []v1alpha1.AccessRule `json:"rules"`
}

// CanIList shows all that is allowed in the namespace, rule by rule: an app may
// have what one of them lists.
func (p *Plugin) CanIList(ctx context.Context, tokenServer string) error {
	server, policy, err := p.rules(ctx, cmp.Or(tokenServer, v1alpha1.DefaultTokenServer))
	if err != nil {
		return &Exit{ExitNotKnown, fmt.Errorf("cannot tell what is allowed: %w", err)}
	}
	all := &Allowance{Namespace: p.Namespace, TokenServer: server.Name, Rules: plan.RulesFor(policy.Namespace, policy.Rules)}
	if all.Rules == nil {
		all.Rules = []v1alpha1.AccessRule{}
	}
	if len(all.Rules) == 0 {
		p.say("%s", plan.Judge(plan.Client{}, policy.Namespace, policy.Rules, policy.OrganizationID).Message())
	}
	return p.write(answer{all, []string{nameOf("TokenServer", server.Name)}, func(w io.Writer) {
		for i := range all.Rules {
			if i > 0 {
				_, _ = fmt.Fprintln(w)
			}
			printRule(w, &all.Rules[i])
		}
	}})
}

// printRule writes what a rule lists, leaving out what it does not.
func printRule(w io.Writer, rule *v1alpha1.AccessRule) {
	_, _ = fmt.Fprintf(w, "rule %s\n", rule.Name)
	row := func(what string, items ...string) {
		if len(items) > 0 {
			_, _ = fmt.Fprintf(w, "  %-20s %s\n", what, line(strings.Join(items, ", ")))
		}
	}
	row("grant types", strs(rule.GrantTypes)...)
	row("scopes", plan.AccessScopes(rule.Scopes)...)
	row("redirect hosts", strs(rule.RedirectHosts)...)
	row("redirect schemes", strs(rule.RedirectSchemes)...)
	row("audiences", strs(rule.Audiences)...)
	row("identity providers", strs(rule.IdentityProviders)...)
	row("deletion policies", strs(rule.DeletionPolicies)...)
	row("clients to adopt", strs(rule.ClientIDs)...)
	var also []string
	for _, flag := range []struct {
		name string
		is   *bool
	}{
		{"skipUserConsent", rule.AllowSkipUserConsent}, {"assertionsWithoutExpiry", rule.AllowAssertionsWithoutExpiry},
		{"the default ServiceAccount", rule.AllowDefaultServiceAccount},
	} {
		if flag.is != nil && *flag.is {
			also = append(also, flag.name)
		}
	}
	row("also", also...)
}

// strs are strings of a kind as strings.
func strs[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = string(item)
	}
	return texts
}
