// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// OrphansOptions say which clients Orphans is about.
type OrphansOptions struct {
	// TokenServer the clients are on; empty: the default one.
	TokenServer string
	// Token is an access token for its management API; empty: its TokenServer's
	// credentials are read.
	Token string
	// ClientIDs are what to delete; All is all that are left behind. Neither: they
	// are listed.
	ClientIDs []string
	All       bool
	// Confirm is asked before anything is deleted; nil: nobody is.
	Confirm func(question string) (bool, error)
}

// Orphans are the clients that were left behind on a token server.
type Orphans struct {
	TokenServer string   `json:"tokenServer"`
	Clients     []Orphan `json:"clients"`
}

// Orphan is a client that a ConnectedApp of this cluster had, which is gone.
type Orphan struct {
	ClientID string `json:"clientID"`
	Name     string `json:"name"`
	// ConnectedApp is namespace and name of the object that it had.
	ConnectedApp string `json:"connectedApp"`
	// Mark is the external id, by which that object is known.
	Mark      string    `json:"mark"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	// WaitsSince is since when the manager is about to delete it; zero: it is not.
	WaitsSince time.Time `json:"waitsSince,omitzero"`
	Deleted    bool      `json:"deleted,omitempty"`
}

// orphanage is what is known of the clients of a token server.
type orphanage struct {
	server  *v1alpha1.TokenServer
	api     *registrar.Client
	owners  *ownership.Records
	census  ownership.Census
	waiting map[string]tombstone.Waiting // by external id
	// clients are all on the server, by id.
	clients map[string]oauth.ConnectedApp
	// claims are the ConnectedApps that name a client, by its id.
	claims map[string]string
	// orphans are the marks of clients without an object, by id.
	orphans map[string]string
}

// Orphans lists the clients on a token server that ConnectedApps of this cluster
// made and that have none any more, as the manager counts them, and those that it
// is about to delete; or deletes such clients.
func (p *Plugin) Orphans(ctx context.Context, o OrphansOptions) error {
	h, err := p.orphanage(ctx, o)
	if err != nil {
		return err
	}
	defer h.api.Close()
	if len(o.ClientIDs) > 0 || o.All {
		return p.deleteOrphans(ctx, h, o)
	}
	found := &Orphans{TokenServer: h.server.Name, Clients: h.list()}
	if len(found.Clients) == 0 && p.Output == OutputText {
		p.say("No client of this cluster was left behind on TokenServer %s.", h.server.Name)
		return nil
	}
	return p.write(answer{found, ids(found.Clients), func(w io.Writer) { found.print(w, o.Token != "") }})
}

func ids(clients []Orphan) []string {
	var list []string
	for _, c := range clients {
		list = append(list, c.ClientID)
	}
	return list
}

// print writes a table, and what to do next as the same user may.
func (o *Orphans) print(w io.Writer, byToken bool) {
	rows := table{{"CLIENT-ID", "NAME", "CONNECTEDAPP", "CREATED", "STATE"}}
	for _, c := range o.Clients {
		state, created := "left behind", ""
		if !c.WaitsSince.IsZero() {
			state = "the manager deletes it, since " + c.WaitsSince.UTC().Format(time.RFC3339)
		}
		if !c.CreatedAt.IsZero() {
			created = c.CreatedAt.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{c.ClientID, c.Name, c.ConnectedApp, created, state})
	}
	rows.write(w, false)
	needs, flags := "", ""
	if o.TokenServer != v1alpha1.DefaultTokenServer {
		flags += " --token-server " + o.TokenServer
	}
	if byToken {
		needs, flags = ", with a token that has the scope manage:orgconnapps", flags+" --token-file FILE"
	}
	_, _ = fmt.Fprintf(w, "\nTo keep one, list it in clientIDs of an access rule of TokenServer %s, and adopt it: kubectl connectedapp adopt APP CLIENT_ID\n"+
		"To delete one%s: kubectl connectedapp orphans%s --delete CLIENT_ID\n", o.TokenServer, needs, flags)
}

// orphanage connects to the token server and looks at both sides.
func (p *Plugin) orphanage(ctx context.Context, o OrphansOptions) (*orphanage, error) {
	h := &orphanage{owners: &ownership.Records{Live: p.Client, Namespace: p.system()}}
	var err error
	if h.server, err = p.tokenServer(ctx, cmp.Or(o.TokenServer, v1alpha1.DefaultTokenServer)); err != nil {
		return nil, err
	}
	if h.api, err = p.management(ctx, h.server, o.Token); err != nil {
		return nil, err
	}
	if err := p.look(ctx, h); err != nil {
		h.api.Close()
		return nil, err
	}
	return h, nil
}

// management is the management API of a TokenServer, with a token or as the
// manager logs in.
func (p *Plugin) management(ctx context.Context, server *v1alpha1.TokenServer, token string) (*registrar.Client, error) {
	if token == "" {
		api, err := p.registrar(ctx, server)
		if err != nil {
			return nil, fmt.Errorf("%w; or give --token-file with an access token that has the scope read:orgconnapps, and manage:orgconnapps to delete", err)
		}
		return api, nil
	}
	bundle, err := p.caBundle(ctx, server)
	if err != nil {
		return nil, err
	}
	return registrar.New(registrar.Config{
		URL: server.Spec.URL, OrganizationID: cmp.Or(server.Spec.OrganizationID, server.Status.OrganizationID), Token: token, CABundle: bundle, UserAgent: userAgent,
	})
}

// look reads what there is, in the order that makes no orphan of a client that is
// being made: the clients before the objects.
func (p *Plugin) look(ctx context.Context, h *orphanage) error {
	cluster := &corev1.Namespace{}
	if err := p.read(ctx, "", "kube-system", "namespace kube-system, whose UID is the mark of this cluster", cluster); err != nil {
		return err
	}
	if err := h.listClients(ctx); err != nil {
		return fmt.Errorf("TokenServer %s: %w", h.server.Name, err)
	}
	apps := &v1alpha1.ConnectedAppList{}
	if err := p.Client.List(ctx, apps); err != nil {
		return worded(err, "listing the ConnectedApps of all namespaces")
	}
	h.census, h.claims = ownership.Census{Cluster: string(cluster.UID), Objects: map[types.UID]bool{}, Waiting: map[string]bool{}}, map[string]string{}
	for i := range apps.Items {
		app := &apps.Items[i]
		h.census.Objects[app.UID] = true
		if app.TokenServerName() == h.server.Name {
			for _, id := range []string{app.Status.ClientID, app.Annotations[v1alpha1.AnnotationAdoptClientID]} {
				h.claims[id] = client.ObjectKeyFromObject(app).String()
			}
		}
	}
	waiting, err := tombstone.List(ctx, p.Client, p.system())
	if err != nil {
		return err
	}
	h.waiting = map[string]tombstone.Waiting{}
	for _, w := range waiting {
		h.census.Waiting[w.ExternalID], h.waiting[w.ExternalID] = true, w
	}
	records, err := h.owners.On(ctx, h.server.Name)
	if err != nil {
		return err
	}
	marks := map[string]string{}
	for id := range h.clients {
		marks[id] = h.clients[id].ExternalID
	}
	h.orphans, _ = h.census.Orphans(marks, records, func(id string) bool { _, ok := h.clients[id]; return ok })
	return nil
}

// pageSize is how many clients are asked for at a time.
const pageSize = 200

func (h *orphanage) listClients(ctx context.Context) error {
	h.clients = map[string]oauth.ConnectedApp{}
	for offset := 0; ; {
		page, err := h.api.List(ctx, offset, pageSize)
		if err != nil {
			return err
		}
		for _, app := range page.Apps {
			h.clients[app.ClientID] = app
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			return nil
		}
	}
}

// list is what was left behind, and then what waits for the manager.
func (h *orphanage) list() []Orphan {
	found := []Orphan{}
	for id, mark := range h.orphans {
		found = append(found, h.orphan(id, mark))
	}
	for mark, w := range h.waiting {
		if w.TokenServer == h.server.Name && w.ClientID != "" {
			orphan := h.orphan(w.ClientID, mark)
			orphan.WaitsSince = w.Since
			found = append(found, orphan)
		}
	}
	slices.SortFunc(found, func(a, b Orphan) int {
		return cmp.Or(a.WaitsSince.Compare(b.WaitsSince), strings.Compare(a.ConnectedApp, b.ConnectedApp), strings.Compare(a.ClientID, b.ClientID))
	})
	return found
}

func (h *orphanage) orphan(id, mark string) Orphan {
	app := h.clients[id]
	owner, _ := ownership.ParseOwner(mark)
	return Orphan{ClientID: id, Name: app.ClientName, ConnectedApp: owner.Key.String(), Mark: mark, CreatedAt: app.CreatedAt}
}

// deleteOrphans deletes clients that are left behind, all or nothing as far as can
// be told before.
func (p *Plugin) deleteOrphans(ctx context.Context, h *orphanage, o OrphansOptions) error {
	chosen, err := h.chosen(o)
	if err != nil {
		return err
	}
	result := &Orphans{TokenServer: h.server.Name, Clients: []Orphan{}}
	for _, id := range chosen {
		result.Clients = append(result.Clients, h.orphan(id, h.orphans[id]))
	}
	if o.Confirm != nil && len(chosen) > 0 {
		yes, err := o.Confirm(question(result))
		if err != nil {
			return err
		}
		if !yes {
			return errors.New("nothing was deleted")
		}
		// While a person thinks, things change.
		if err := p.look(ctx, h); err != nil {
			return err
		}
	}
	var failed []error
	for i := range result.Clients {
		c := &result.Clients[i]
		if err := h.delete(ctx, c); err != nil {
			failed = append(failed, fmt.Errorf("client %s: %w", line(c.ClientID), err))
			continue
		}
		c.Deleted = true
	}
	err = p.write(answer{result, ids(result.Clients), func(w io.Writer) {
		for _, c := range result.Clients {
			if c.Deleted {
				_, _ = fmt.Fprintf(w, "deleted client %s of ConnectedApp %s\n", line(c.ClientID), line(c.ConnectedApp))
			}
		}
	}})
	return errors.Join(append(failed, err)...)
}

func question(o *Orphans) string {
	text := fmt.Sprintf("These clients on TokenServer %s are deleted, and whoever uses them gets no token any more:\n", o.TokenServer)
	for _, c := range o.Clients {
		text += fmt.Sprintf("  %s (%s), of ConnectedApp %s\n", line(c.ClientID), line(c.Name), line(c.ConnectedApp))
	}
	return text
}

// chosen are the ids of what is to be deleted; an error when one of them must
// not be.
func (h *orphanage) chosen(o OrphansOptions) ([]string, error) {
	chosen := o.ClientIDs
	if o.All {
		chosen = nil
		for id := range h.orphans {
			if h.claims[id] == "" {
				chosen = append(chosen, id)
			}
		}
		slices.Sort(chosen)
	}
	var refused []error
	for _, id := range chosen {
		if err := h.refuses(id); err != nil {
			refused = append(refused, err)
		}
	}
	if len(refused) > 0 {
		return nil, errors.Join(append(refused, errors.New("nothing was deleted"))...)
	}
	return chosen, nil
}

// refuses is why a client is not deleted here; nil: it was left behind, and nobody
// has it or is about to.
func (h *orphanage) refuses(id string) error {
	app, ok := h.clients[id]
	owner, marked := ownership.ParseOwner(app.ExternalID)
	_, waits := h.waiting[app.ExternalID]
	switch {
	case !ok:
		return fmt.Errorf("there is no client %s on TokenServer %s", line(id), h.server.Name)
	case h.api.IsOwn(id) || id == h.server.Spec.Credentials.ClientID:
		return fmt.Errorf("client %s is what the manager logs in with", line(id))
	case h.claims[id] != "":
		return fmt.Errorf("client %s is named by ConnectedApp %s, as its own or to be adopted", line(id), h.claims[id])
	case h.orphans[id] != "":
		return nil
	case waits && marked:
		return fmt.Errorf("client %s is deleted by the manager as soon as it can", line(id))
	case !marked:
		return fmt.Errorf("client %s was made by other means: it does not bear the mark of a ConnectedApp", line(id))
	case owner.Cluster != h.census.Cluster:
		return fmt.Errorf("client %s was made for ConnectedApp %s of another cluster", line(id), line(owner.Key.String()))
	}
	return fmt.Errorf("client %s belongs to a ConnectedApp: it was made for %s", line(id), line(owner.Key.String()))
}

// delete deletes a client that is still what it was when it was looked at.
func (h *orphanage) delete(ctx context.Context, c *Orphan) error {
	if err := h.refuses(c.ClientID); err != nil {
		return err
	}
	now, err := h.api.Read(ctx, c.ClientID)
	if err != nil {
		return err
	}
	record, err := h.owners.Of(ctx, h.server.Name, h.api.Issuer(), c.ClientID)
	if err != nil {
		return err
	}
	if now.ExternalID != h.clients[c.ClientID].ExternalID || record.Owner != "" && !h.census.IsOrphan(record.Owner) {
		return errors.New("it was taken over meanwhile")
	}
	return h.api.Delete(ctx, c.ClientID)
}
