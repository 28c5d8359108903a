// Small comforts; every page works without them.
"use strict";
// A box that shows what is typed into the password fields it names.
addEventListener("change", (event) => {
  const names = event.target.dataset && event.target.dataset.show;
  if (!names) return;
  for (const name of names.split(" ")) {
    const field = document.getElementById(name);
    if (field) field.type = event.target.checked ? "text" : "password";
  }
});
// Says whether the page is fed live.
const say = (text, tone) => {
  for (const mark of document.querySelectorAll("[data-live]")) {
    mark.hidden = false;
    mark.textContent = text;
    mark.className = "live " + tone;
  }
};
document.addEventListener("htmx:sseOpen", () => say("live", "good"));
document.addEventListener("htmx:sseError", () => say("reconnecting…", "warn"));
document.addEventListener("htmx:sseClose", () => say("not live", "quiet"));
document.addEventListener("htmx:sendError", () => say("this node does not answer", "bad"));

// A button that is held for a moment instead of typing a name.
for (const button of document.querySelectorAll("[data-hold]")) {
  const form = button.form;
  const typed = form.elements.confirm;
  for (const hint of form.querySelectorAll("[data-hold-hint]")) hint.hidden = false;
  let timer;
  const stop = () => { clearTimeout(timer); button.classList.remove("holding"); };
  button.addEventListener("pointerdown", () => {
    if (typed.value) return;
    button.classList.add("holding");
    timer = setTimeout(() => { form.elements.held.value = "yes"; form.submit(); }, 1500);
  });
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, stop);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  // A short tap alone does nothing.
  form.addEventListener("submit", (event) => {
    if (typed.value) return;
    event.preventDefault();
    typed.focus();
  });
}
// Where the page goes on when its node is gone.
let lost = 0;
const gone = (is) => {
  const note = document.getElementById("gone");
  if (!note) return;
  lost = is ? lost + 1 : 0;
  note.hidden = lost < 2;
  for (const link of note.querySelectorAll("[data-continue]")) link.href = link.dataset.continue + location.pathname;
};
document.addEventListener("htmx:sseOpen", () => gone(false));
document.addEventListener("htmx:sseError", () => gone(true));
document.addEventListener("htmx:sendError", () => { gone(true); gone(true); });

// A link that takes a while says so.
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("[data-busy]");
  if (link) link.textContent = link.dataset.busy;
});
// What was ticked or typed in a part of the page outlives the part's next drawing.
const changes = (part) => [...part.querySelectorAll("input[id]:not([type=hidden]), select[id], details[id]")].map((f) =>
  f.localName === "details" ? [f.id, f.open, "open", false] :
  f.type === "checkbox" || f.type === "radio" ? [f.id, f.checked, "checked", f.defaultChecked] :
  f.localName === "select" ? [f.id, f.value, "value", null] : [f.id, f.value, "value", f.defaultValue]
).filter(([, now, , drawn]) => now !== drawn);
const restore = (kept) => {
  for (const [id, now, what] of kept) {
    const field = document.getElementById(id);
    if (field) field[what] = now;
  }
  count();
};
// A button that says how many boxes are ticked.
const count = () => {
  for (const button of document.querySelectorAll("[data-count]")) {
    const n = document.querySelectorAll('input[name="' + button.dataset.count + '"]:checked').length;
    button.textContent = [button.dataset.none, button.dataset.one][n] || button.dataset.many.replace("#", n);
    button.disabled = n === 0;
  }
};
addEventListener("change", count);
document.addEventListener("htmx:sseBeforeMessage", (event) => {
  const kept = changes(event.target);
  setTimeout(() => restore(kept));
});
count();
const soon = (ms) => new Promise((done) => setTimeout(done, ms));
const ask = async (url, ms, options) => {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ms);
  try {
    return await fetch(url, { cache: "no-store", signal: stop.signal, ...options });
  } finally {
    clearTimeout(timer);
  }
};
// Waits until another run of the board answers, then goes on.
let waiting = false;
const comeBack = async (mark) => {
  if (waiting) return;
  waiting = true;
  const { await: run, then } = mark.dataset;
  const began = Date.now();
  for (;;) {
    await soon(1500);
    try {
      const now = (await ask("/healthz", 4000)).headers.get("x-bramble-run");
      if (now && now !== run) break;
    } catch { /* not back yet */ }
    if (Date.now() - began > 120000) {
      for (const late of document.querySelectorAll("[data-late]")) late.hidden = false;
    }
  }
  location.replace(then);
};
const lookForRestart = () => {
  const mark = document.querySelector("[data-await]");
  if (mark) comeBack(mark);
};
document.addEventListener("htmx:sseMessage", lookForRestart);
addEventListener("DOMContentLoaded", lookForRestart);
lookForRestart();
// Follows a part of the page by asking again and again, which outlives every change of channel.
const follow = async (part) => {
  if (part.dataset.followed) return;
  part.dataset.followed = "yes";
  let last;
  while (part.isConnected) {
    await soon(2500);
    if (document.hidden) continue;
    try {
      const answer = await ask(part.dataset.poll, 5000);
      // Somebody signed in or out elsewhere, or this board is another's now.
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) continue;
      const html = await answer.text();
      if (html !== last) {
        const kept = changes(part);
        part.innerHTML = html;
        restore(kept);
      }
      last = html;
      gone(false);
      part.classList.remove("lost");
    } catch {
      gone(true);
      part.classList.add("lost");
    }
  }
};
const followAll = () => document.querySelectorAll("[data-poll]").forEach(follow);
document.addEventListener("htmx:load", followAll);
followAll();
// Sends a firmware file with a bar that shows how far it is.
for (const form of document.querySelectorAll("form[data-upload]")) {
  const find = (name) => form.querySelector("[data-upload-" + name + "]");
  const button = form.querySelector("button");
  const refuse = (text) => {
    find("error").textContent = text;
    find("error").hidden = false;
    find("progress").hidden = true;
    button.disabled = false;
  };
  form.addEventListener("submit", (event) => {
    const file = form.elements.file.files[0];
    if (!file) return;
    event.preventDefault();
    if (file.size > Number(form.dataset.largest)) {
      refuse("This file is larger than any firmware. Choose the one that ends in .bramble.");
      return;
    }
    find("error").hidden = true;
    find("progress").hidden = false;
    button.disabled = true;
    const bar = form.querySelector("progress");
    const say = (text) => { find("text").textContent = text; };
    const send = new XMLHttpRequest();
    send.open("PUT", form.dataset.upload);
    send.setRequestHeader("content-type", "application/octet-stream");
    send.setRequestHeader("x-csrf-token", form.elements.csrf.value);
    send.upload.onprogress = (e) => {
      bar.value = e.total ? (100 * e.loaded) / e.total : 0;
      say("Sending: " + Math.floor(bar.value) + " %");
    };
    send.upload.onload = () => say("Sent. The board checks and writes it; see above.");
    send.onerror = () => refuse("The connection broke while the file was sent. Look whether the board answers, then try again.");
    send.onload = () => {
      let answer = {};
      try { answer = JSON.parse(send.responseText); } catch { /* said below */ }
      if (send.status === 202) say("Written.");
      else if (send.status === 401) location.reload();
      else refuse(answer.problem || "The board did not take it (" + send.status + "). Reload this page and try again.");
    };
    send.send(file);
  });
}
