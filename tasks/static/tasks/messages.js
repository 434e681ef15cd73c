// Messages about what was done or failed.

const messages = document.getElementById("messages");
const TIME = 8000; // milliseconds that a message is shown
const TIME_TO_UNDO = 20_000; // the same, of one with a button or a link

let timer;

document.addEventListener("list:shown", notice);
document.addEventListener("list:failed", ({ detail: { text, typed, lost } }) => {
  const message = element("div", { className: `message error${lost ? " lost" : ""}` });
  const said = element("div", {});
  said.append(element("p", { textContent: text }));
  if (typed) said.append(element("p", { textContent: `Not added: ${typed}` }));
  message.append(said);
  messages.replaceChildren(message);
  notice();
});

// At the next change, its "Undo" would take back the one before.
document.addEventListener("list:changing", ({ detail: { form } }) => {
  if (messages.contains(form)) return;
  for (const message of messages.querySelectorAll(".message:has(.undo)")) message.remove();
});

messages.addEventListener("click", (event) => event.target.closest(".close")?.parentNode.remove());

notice();

/** Remove messages after some time, unless the pointer or the focus is there. Errors stay. */
function notice() {
  clearTimeout(timer);
  for (const message of messages.querySelectorAll(".error, .warning")) {
    if (message.querySelector(".close")) continue;
    const close = element("button", { type: "button", className: "close", ariaLabel: "Close" });
    close.textContent = "×";
    message.append(close);
  }
  const remove = () => {
    if (messages.querySelector(".close")) return;
    if (messages.matches(":focus-within") || messages.querySelector(".message:hover")) notice();
    else messages.replaceChildren();
  };
  timer = setTimeout(remove, messages.querySelector(".undo") ? TIME_TO_UNDO : TIME);
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
