// Works without: this adds an empty field once the last one is written in, and keeps a form from being sent twice.
"use strict";

for (const labels of document.querySelectorAll(".labels")) {
  labels.addEventListener("input", () => {
    const fields = labels.querySelectorAll("input");
    const last = fields[fields.length - 1];
    if (!last.value.trim() || fields.length >= Number(labels.dataset.most)) return;
    const next = last.cloneNode();
    next.value = "";
    next.removeAttribute("value");
    last.after(next);
  });
}

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}

// A page that comes back from the browser's memory may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) delete form.dataset.sent;
});
