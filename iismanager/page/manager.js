// What the page does beyond HTML: it searches while somebody types. Without it, all
// works by links and forms.
"use strict";

// target is where a form goes to. The address of the page may have a password in it, with
// which fetch refuses to work; the browser knows it without.
const target = (form) => {
	const url = new URL(form.action);
	url.username = url.password = "";
	return url;
};

const search = document.querySelector("[data-search]");
if (search) {
	const results = document.getElementById("results");
	let asked = null;
	let timer = 0;

	const find = async () => {
		if (asked) asked.abort();
		asked = new AbortController();
		const query = new URLSearchParams(new FormData(search));
		for (const [name, value] of [...query]) if (!value) query.delete(name);
		const url = target(search);
		url.search = query.toString();
		try {
			// An answer from elsewhere is a login of whoever stands before the page.
			const answer = await fetch(url, {headers: {"Iis-Part": "results"}, redirect: "error", signal: asked.signal});
			if (!answer.ok) {
				search.submit(); // the page of the answer says why
				return;
			}
			// It is a page of this server, whose texts are escaped.
			results.innerHTML = await answer.text();
			// Screen readers tell of a text that changes, not of one that is new.
			document.getElementById("count").textContent = results.firstElementChild.dataset.count;
			history.replaceState(null, "", url.search || "?");
		} catch (err) {
			if (err.name !== "AbortError") search.submit();
		}
	};

	search.addEventListener("input", () => {
		clearTimeout(timer);
		timer = setTimeout(find, 120);
	});
}

// A binding is checked while it is typed; what is in its way stands at the field.
const form = document.querySelector("[data-check]");
if (form) {
	const verdict = document.getElementById("verdict");
	const host = form.elements.host;
	let asked = null;
	let timer = 0;

	const check = async () => {
		if (asked) asked.abort();
		asked = new AbortController();
		const body = new URLSearchParams(new FormData(form));
		body.set("do", "check");
		try {
			const answer = await fetch(target(form), {method: "POST", body, headers: {"Iis-Part": "results"}, redirect: "error", signal: asked.signal});
			if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) return;
			verdict.innerHTML = await answer.text(); // a part of a page of this server
			const wrong = verdict.querySelector(".bad") !== null;
			host.classList.toggle("wrong", wrong);
			if (wrong) host.setAttribute("aria-invalid", "true");
			else host.removeAttribute("aria-invalid");
		} catch (err) {
			if (err.name !== "AbortError") verdict.textContent = ""; // saving will tell
		}
	};

	form.addEventListener("input", () => {
		clearTimeout(timer);
		if (form.elements.port.value) timer = setTimeout(check, 300);
	});
	form.addEventListener("submit", () => {
		clearTimeout(timer);
		if (asked) asked.abort();
	});
	form.elements.type.addEventListener("change", () => { // as IIS's dialog does
		const port = form.elements.port;
		if (form.elements.type.value === "https" && port.value === "80") port.value = "443";
		else if (form.elements.type.value === "http" && port.value === "443") port.value = "80";
	});
}
