package iisconfig

import "strings"

// pools reads the section system.applicationHost/applicationPools.
func (r *configReader) pools(el *element) error {
	r.moved(el)
	r.ctx.attributes(el)
	var defaults *element
	var adds []*element
	err := r.x.each(func(kid *element) error {
		if err := r.x.tree(kid); err != nil {
			return err
		}
		switch {
		case kid.is("add"):
			adds = append(adds, kid)
		case kid.is("applicationPoolDefaults"):
			defaults = kid
		case kid.is("clear", "remove"):
		default:
			r.ctx.unknown(kid, "in applicationPools")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, add := range adds {
		r.b.addPool(r.pool(add, defaults))
	}
	if defaults != nil {
		r.poolDone(defaults)
	}
	return nil
}

func (r *configReader) pool(el, defaults *element) *ApplicationPool {
	p := &ApplicationPool{
		Name:        el.str("name"),
		Enable32Bit: r.ctx.inheritBool("enable32BitAppOnWin64", false, el, defaults),
		AutoStart:   r.ctx.inheritBool("autoStart", true, el, defaults),
		Source:      r.ctx.src(el),
	}
	var from *element
	from, p.RuntimeVersion = inherit("managedRuntimeVersion", el, defaults)
	p.Unmanaged = from != nil && p.RuntimeVersion == ""
	_, p.PipelineMode = inherit("managedPipelineMode", el, defaults)
	var own, inherited *element
	own = el.kid("processModel")
	if defaults != nil {
		inherited = defaults.kid("processModel")
	}
	_, p.Identity = inherit("identityType", own, inherited)
	r.poolDone(el)
	return p
}

// poolDone reports what is not understood. What concerns the worker process only is
// of no use without one.
func (r *configReader) poolDone(el *element) {
	el.ignore("managedRuntimeVersion", "managedPipelineMode", "enable32BitAppOnWin64", "autoStart",
		"queueLength", "startMode", "CLRConfigFile", "managedRuntimeLoader", "passAnonymousToken", "enableConfigurationOverride")
	r.ctx.attributes(el)
	for _, kid := range el.kids {
		switch {
		case kid.is("processModel", "recycling", "failure", "cpu", "environmentVariables"):
			if len(kid.attrs)+len(kid.kids) > 0 {
				r.ctx.rep.info(CodeIgnored, r.ctx.src(kid), "%s of an application pool concerns the worker process", kid.name)
			}
		default:
			r.ctx.unknown(kid, "in an application pool")
		}
	}
}

func (b *builder) addPool(p *ApplicationPool) {
	if have := b.poolByName[strings.ToLower(p.Name)]; have != nil {
		setNonEmpty(&have.State, p.State)
		return
	}
	b.poolByName[strings.ToLower(p.Name)] = p
	b.server.ApplicationPools = append(b.server.ApplicationPools, p)
}

// webFarm reads a group of servers of Application Request Routing.
func (r *configReader) webFarm(el *element) error {
	if err := r.x.tree(el); err != nil {
		return err
	}
	c := r.ctx
	if !el.is("webFarm") {
		if !el.is("applicationRequestRouting") {
			c.unknown(el, "in webFarms")
			return nil
		}
		for _, kid := range el.kids {
			if !kid.is("hostAffinityProviderList") && kid.meant != "" {
				c.unknown(kid, "in applicationRequestRouting")
			}
		}
		c.rep.info(CodeIgnored, c.src(el), "applicationRequestRouting of the server names the ways to keep clients at one server, which are those of reverse_proxy here")
		return nil
	}
	farm := &WebFarm{Name: el.str("name"), Enabled: c.boolean(el, "enabled", true), Source: c.src(el)}
	el.ignore("adminUserName", "adminPassword", "primaryServer")
	for _, kid := range el.kids {
		switch {
		case kid.is("server"):
			farm.Servers = append(farm.Servers, c.farmServer(kid))
		case kid.is("applicationRequestRouting"):
			c.farmRouting(farm, kid)
		default:
			kid.is("platformProvision", "applicationProvision", "customProviderSettings", "runProviders", "autoRepair", "defaultProxy")
			c.unknown(kid, "in webFarm")
		}
	}
	c.attributes(el)
	r.b.server.WebFarms = append(r.b.server.WebFarms, farm)
	return nil
}

// farmRouting reads how a web farm chooses its servers and looks after them.
func (c *context) farmRouting(farm *WebFarm, el *element) {
	for _, kid := range el.kids {
		switch {
		case kid.is("loadBalancing"):
			farm.Algorithm = kid.str("algorithm")
			kid.ignore("hashServerVariable", "queryStringNames")
		case kid.is("affinity"):
			if c.boolean(kid, "useCookie", false) {
				farm.Cookie = "ARRAffinity"
			}
			if name := kid.str("cookieName"); name != "" && farm.Cookie != "" {
				farm.Cookie = name
			}
		case kid.is("healthCheck"):
			farm.Health = &HealthCheck{
				URL: kid.str("url"), Interval: kid.str("interval"), Timeout: kid.str("timeout"),
				Status: kid.str("statusCodeMatch"), Text: kid.str("responseMatch"), Source: c.src(kid),
			}
		case !kid.is("protocol", "publicKeys") && kid.meant != "":
			c.unknown(kid, "in "+el.name)
			continue
		default:
			c.rep.warn(CodeUnsupported, c.src(kid), "set it in iis_proxy, as a subdirective of reverse_proxy",
				"%s of the web farm %s is not translated", kid.name, farm.Name)
			continue
		}
		c.done(kid)
	}
	c.attributes(el)
}

func (c *context) farmServer(el *element) WebFarmServer {
	s := WebFarmServer{
		Address: el.str("address"), Enabled: c.boolean(el, "enabled", true),
		HTTPPort: 80, HTTPSPort: 443, Weight: 100, Source: c.src(el),
	}
	for _, kid := range el.kids {
		if !kid.is("applicationRequestRouting") {
			c.unknown(kid, "in server")
			continue
		}
		s.HTTPPort = int(c.number(kid, "httpPort", 80, 1, 65535))
		s.HTTPSPort = int(c.number(kid, "httpsPort", 443, 1, 65535))
		s.Weight = int(c.number(kid, "weight", 100, 0, 1<<31-1))
		c.done(kid)
	}
	c.attributes(el)
	return s
}
