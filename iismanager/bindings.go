package iismanager

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// bindingsView is the dialog of a site's bindings.
type bindingsView struct {
	ID       uint32
	Name     string
	Bindings []cli.NewBinding // those that are shown
	Total    int              // of the site
	Query    string           // that leaves those that are shown
	Form     bindingForm
	Known    []string // names of certificates
	Fixed    string   // why the site cannot be changed here
}

// bindingForm is the binding that somebody adds or edits, as it was typed.
type bindingForm struct {
	ETag        string // of the site as he has seen it
	Protocol    string
	Old         string // the binding that is edited, empty for a new one
	Type        string
	Certificate string
	SNI         bool
	Flags       uint16 // the others, which the form does not show
	address

	Error string              // why it cannot be so
	Other *adminapi.OtherSite // that is in its way
	Fine  string              // what the check says if nothing is wrong
}

// maxKnown is how many names of certificates are suggested.
const maxKnown = 200

// info puts the parts of an address together.
func (a address) info() string {
	ip := strings.TrimSpace(a.IP)
	if addr, err := netip.ParseAddr(ip); err == nil && addr.Is6() {
		ip = "[" + ip + "]"
	}
	return ip + ":" + strings.TrimSpace(a.Port) + ":" + strings.TrimSpace(a.Host)
}

// formOf reads a form.
func formOf(r *http.Request) bindingForm {
	flags, _ := strconv.ParseUint(r.PostFormValue("flags"), 10, 16) // else none
	return bindingForm{
		ETag: r.PostFormValue("etag"), Protocol: r.PostFormValue("protocol"), Old: r.PostFormValue("old"),
		Type: r.PostFormValue("type"), Certificate: strings.TrimSpace(r.PostFormValue("certificate")), SNI: r.PostFormValue("sni") != "",
		Flags:   uint16(flags),
		address: address{IP: r.PostFormValue("ip"), Port: r.PostFormValue("port"), Host: r.PostFormValue("host")},
	}
}

// wanted is the binding that a form is about.
func (f *bindingForm) wanted() cli.NewBinding {
	b := cli.NewBinding{Protocol: f.Type, Binding: f.info()}
	if f.Type != binding.HTTP.String() {
		b.Certificate, b.Flags = f.Certificate, f.Flags
		if f.SNI {
			b.Flags |= uint16(binding.FlagSNI)
		}
	}
	return b
}

// put is the change that a form asks for.
func (f *bindingForm) put(cfg *adminapi.SiteConfig) error {
	if f.Old == "" {
		return cli.PutBinding(cfg, f.wanted())
	}
	return cli.EditBinding(cfg, f.Protocol, f.Old, f.wanted())
}

// editing fills a form with a binding.
func editing(b cli.NewBinding) bindingForm {
	return bindingForm{
		Protocol: b.Protocol, Old: b.Binding, Type: b.Protocol, Certificate: b.Certificate,
		SNI: b.HasSNI(), Flags: b.Flags &^ uint16(binding.FlagSNI), address: partsOf(b.Binding),
	}
}

// bindings shows the dialog.
func (v *visit) bindings() error {
	id, err := v.siteID()
	if err != nil {
		return err
	}
	dialog, err := v.readBindings(id)
	if err != nil {
		return err
	}
	switch asked := v.r.URL.Query().Has("edit"); {
	case asked && dialog.Form.Old == "":
		return &pageError{http.StatusNotFound, "The site does not have this binding any more."}
	case !asked:
		dialog.Form = bindingForm{ETag: dialog.Form.ETag, Type: "http", address: address{IP: "*", Port: "80"}}
	}
	v.showBindings(http.StatusOK, dialog, "")
	return nil
}

// readBindings reads what the dialog shows. The form has the entity tag, and the binding
// that the address asks to edit.
func (v *visit) readBindings(id uint32) (*bindingsView, error) {
	site, err := v.client.Site(v.ctx(), id)
	if err != nil {
		return nil, err
	}
	if reason := fixed(site); reason != "" {
		return nil, &pageError{http.StatusConflict, reason}
	}
	cfg, etag, err := v.client.ReadSite(v.ctx(), id)
	if err != nil {
		return nil, err
	}
	dialog := &bindingsView{ID: id, Name: site.Name, Form: bindingForm{ETag: etag}}
	all, err := cli.Bindings(cfg)
	if err != nil {
		return nil, err
	}
	dialog.Total, dialog.Query = len(all), strings.TrimSpace(v.r.URL.Query().Get("q"))
	edit := v.r.URL.Query().Get("edit")
	for _, b := range all {
		if edit != "" && edit == b.Protocol+" "+b.Binding {
			dialog.Form = editing(b)
			dialog.Form.ETag = etag
		}
		if len(dialog.Bindings) < bindingsOfSite && strings.Contains(b.Binding, strings.ToLower(dialog.Query)) {
			dialog.Bindings = append(dialog.Bindings, b)
		}
	}
	var certificates adminapi.Page[adminapi.Certificate]
	if err := v.get("certificates", pageOf("", maxKnown), &certificates); err != nil {
		return nil, err
	}
	for _, c := range certificates.Items {
		if !strings.HasPrefix(c.Name, "(") { // the central store
			dialog.Known = append(dialog.Known, c.Name)
		}
	}
	return dialog, nil
}

func (v *visit) showBindings(status int, dialog *bindingsView, failure string) {
	label := siteLabel(adminapi.Site{ID: dialog.ID, Name: dialog.Name})
	v.show(status, "bindings.html", &view{Title: "Site bindings: " + label, Section: "sites", Failure: failure, Data: dialog})
}

// changeBindings checks, adds, edits or removes a binding.
func (v *visit) changeBindings() error {
	id, err := v.siteID()
	if err != nil {
		return err
	}
	form := formOf(v.r)
	do := v.r.PostFormValue("do")
	if do == "check" {
		return v.checkBinding(id, form)
	}
	words := map[string]string{"add": "added", "edit": "saved", "remove": "removed"}
	if words[do] == "" || (form.Old == "") != (do == "add") {
		return &pageError{http.StatusBadRequest, "The form asks for nothing that there is."}
	}
	change := form.put
	if do == "remove" {
		change = func(cfg *adminapi.SiteConfig) error { return cli.DropBinding(cfg, form.Protocol, form.Old) }
	}
	if form.ETag == "" {
		return &pageError{http.StatusBadRequest, "The form does not say which state of the site it is about."}
	}
	fields := []zap.Field{zap.Uint32("site", id), zap.String("old", form.Old)}
	if do != "remove" {
		fields = append(fields, zap.String("binding", form.Type+" "+form.info()))
	}
	err = v.change(do+" binding", fields, func(ctx context.Context) error {
		// Judged first, where that can be done, so that what is refused has opened nothing.
		if _, err := v.client.TrySite(ctx, id, change); err != nil {
			if changed := v.changedSince(ctx, id, form.ETag); changed != nil {
				return changed
			}
			return err
		}
		return v.client.ChangeSiteAt(ctx, id, form.ETag, change)
	})
	path := "sites/" + strconv.FormatUint(uint64(id), 10)
	switch {
	case errors.Is(err, errReplaced):
		return v.goTo(path, "taken")
	case err != nil:
		return v.refused(id, form, err)
	}
	return v.goTo(path, words[do])
}

// changedSince is ErrChanged if a site is not any more what somebody has seen.
func (v *visit) changedSince(ctx context.Context, id uint32, etag string) error {
	if _, now, err := v.client.ReadSite(ctx, id); err == nil && now != etag {
		return adminapi.ErrChanged
	}
	return nil
}

// refused shows the dialog as the site is now, with the form as it was typed and the
// reason at it.
func (v *visit) refused(id uint32, form bindingForm, why error) error {
	dialog, err := v.readBindings(id)
	if err != nil {
		return errors.Join(why, err)
	}
	form.ETag = dialog.Form.ETag
	dialog.Form = form
	if errors.Is(why, adminapi.ErrChanged) {
		v.showBindings(http.StatusConflict, dialog, "Somebody else has changed this site since you have opened it, and your change was not made. "+
			"The list shows what the site is now; save once more if your change still fits.")
		return nil
	}
	dialog.Form.explain(why)
	v.showBindings(statusFor(why), dialog, "")
	return nil
}

// statusFor is statusOf for what a form was refused for: without an answer of the API,
// the form itself is wrong.
func statusFor(err error) int {
	_, own := errors.AsType[*pageError](err)
	if _, said := errors.AsType[*adminapi.Error](err); own || said || adminapi.IsUnanswered(err) {
		return statusOf(err)
	}
	return http.StatusUnprocessableEntity
}

// explain puts the reason of a refusal into the form.
func (f *bindingForm) explain(why error) {
	f.Error = messageOf(why)
	if said, ok := errors.AsType[*adminapi.Error](why); ok {
		f.Other = said.Refused.Other
	}
}

// checkBinding tells whether a binding could be saved.
func (v *visit) checkBinding(id uint32, form bindingForm) error {
	judged, err := v.client.TrySite(v.ctx(), id, form.put)
	dialog, readErr := v.readBindings(id)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	form.ETag = cmp.Or(form.ETag, dialog.Form.ETag)
	dialog.Form = form
	status := http.StatusOK
	switch {
	case err != nil:
		status = statusFor(err)
		dialog.Form.explain(err)
	case judged:
		dialog.Form.Fine = "It can be saved."
	default:
		dialog.Form.Fine = "Its form is right. The site is one of the configuration, which is judged as a whole when it is saved."
	}
	v.showBindings(status, dialog, "")
	return nil
}
