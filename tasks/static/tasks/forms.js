// Forms of every page: a second press is the same press, and a date that cannot be read is refused.

const AGAIN = 10_000; // milliseconds after which a form without an answer may be sent again

// On the window: after the scripts that send forms themselves.
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.pressed) event.preventDefault();
  form.dataset.pressed = "true";
  setTimeout(() => delete form.dataset.pressed, AGAIN);
});

addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-pressed]")) delete form.dataset.pressed;
});

document.addEventListener("invalid", (event) => {
  const field = event.target;
  if (field.type !== "date") return;
  event.preventDefault(); // not the browser's own message, which disappears
  clear(field);
  const errors = document.createElement("ul");
  Object.assign(errors, { id: `${field.id}_error`, className: "errorlist unreadable" });
  errors.append(document.createElement("li"));
  errors.firstChild.textContent = "There is no such date, or a part of it is missing.";
  field.after(errors);
  field.ariaInvalid = "true";
  field.setAttribute("aria-describedby", errors.id);
  field.focus();
}, true);

document.addEventListener("input", ({ target }) => {
  if (target.type === "date" && target.validity.valid) clear(target);
});

function clear(field) {
  const errors = field.parentNode.querySelector(".errorlist");
  if (!errors) return;
  errors.remove();
  field.ariaInvalid = null;
  field.removeAttribute("aria-describedby");
}
