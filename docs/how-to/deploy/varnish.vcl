# everywire behind Varnish 6 or 7: /etc/varnish/default.vcl
# The log of varnishncsa has whole URLs, tickets too, unless its format says %U in the place of %r: see index.md.
vcl 4.1;

backend everywire {
    .host = "127.0.0.1";
    .port = "8000";
}

sub vcl_recv {
    if (req.http.Upgrade ~ "(?i)websocket") {
        return (pipe);  # from here on bytes are passed both ways; all else that Varnish can do ends at one answer
    }
    if (req.url ~ "^/live/") {
        return (pass);  # else Varnish keeps a note of each URL for two minutes, and every poll has another
    }
}

sub vcl_pipe {
    set bereq.http.Upgrade = req.http.Upgrade;        # Varnish drops both, as they are for one hop only;
    set bereq.http.Connection = req.http.Connection;  # without them WebSocket is answered 426
}
