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
