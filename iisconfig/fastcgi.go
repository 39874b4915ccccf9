package iisconfig

// fastCGI reads how one program of the section fastCgi is run.
func (r *configReader) fastCGI(el *element) error {
	if err := r.x.tree(el); err != nil {
		return err
	}
	c := r.ctx
	if !el.is("application") {
		c.unknown(el, "in fastCgi")
		return nil
	}
	const most = 1<<31 - 1
	app := FastCGI{
		FullPath: el.str("fullPath"), Arguments: el.str("arguments"), Source: c.src(el),
		MaxInstances:        int(c.number(el, "maxInstances", 4, 0, most)),
		InstanceMaxRequests: int(c.number(el, "instanceMaxRequests", 200, 1, most)),
		ActivityTimeout:     int(c.number(el, "activityTimeout", 30, 10, most)),
		RequestTimeout:      int(c.number(el, "requestTimeout", 90, 10, most)),
	}
	el.ignore("monitorChangesTo", "stderrMode", "signalBeforeTerminateSeconds", "idleTimeout", "queueLength",
		"rapidFailsPerMinute", "flushNamedPipe", "protocol")
	for _, kid := range el.kids {
		if !kid.is("environmentVariables") {
			c.unknown(kid, "in the application of fastCgi")
			continue
		}
		for _, v := range kid.kids {
			app.Environment = append(app.Environment, Pair{v.str("name"), v.str("value")})
			c.done(v)
		}
		c.attributes(kid)
	}
	c.attributes(el)
	r.b.server.FastCGI = append(r.b.server.FastCGI, app)
	return nil
}
