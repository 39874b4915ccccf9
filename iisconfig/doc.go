// Package iisconfig reads what an administrator can copy off an IIS server into
// one neutral model. It makes no configuration of its own: it tells what the
// server was told to do, and on which line.
//
// Inputs are recognised by their content. Their names are for messages, and for
// web.config files, which IIS reads by their name and whose folder says where they
// belong:
//
//   - applicationHost.config of IIS 7 to 10 and of IIS Express, and fragments of
//     it (roots configuration, location, system.applicationHost, sites, site), as
//     "appcmd list site /config" prints them;
//   - web.config, which belongs to the path of a site whose folder it is in;
//   - redirection.config, which says that the configuration is elsewhere;
//   - MetaBase.xml of IIS 6;
//   - the output of "adsutil.vbs ENUM" and "GET" (IIS 6);
//   - the output of "appcmd list site", "app", "vdir" and "apppool", as text and
//     with /xml;
//   - the output of "netsh http show sslcert" and "netsh http show iplisten" in any
//     display language;
//   - a registry export of HKLM\SOFTWARE\Microsoft\IIS\CentralCertProvider, where
//     IIS keeps the settings of its central certificate store;
//   - PFX, PEM and DER certificate files, which are only listed.
//
// Files may be UTF-8 or UTF-16, with or without a byte order mark and whatever
// their XML declaration says, and in a legacy code page as far as the ASCII parts
// of it matter.
//
// All of them may come from an untrusted place. XML is read as a stream with
// bounds (Options); document types and entities of their own are refused. A file
// that cannot be read is an error with file and line. What can be read but is not
// understood, or means something that the model does not hold, is a Finding.
//
// A configuration file has settings for the server, for a site and for paths below
// it. The model keeps them by path as they were written, and Site.At merges them
// as IIS does when it serves that path.
package iisconfig
