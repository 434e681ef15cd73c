// Messages about what was done or failed.

const messages = document.getElementById("messages");
const TIME = 8000; // milliseconds that a message without a button is shown

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

messages.addEventListener("click", (event) => event.target.closest(".close")?.parentNode.remove());

notice();

/** Remove messages after some time. Those with a button and errors stay until they are closed. */
function notice() {
  clearTimeout(timer);
  for (const message of messages.querySelectorAll(".error, .warning")) {
    if (message.querySelector(".close")) continue;
    const close = element("button", { type: "button", className: "close", ariaLabel: "Close" });
    close.textContent = "×";
    message.append(close);
  }
  timer = setTimeout(() => {
    if (!messages.querySelector("form, .close")) messages.replaceChildren();
  }, TIME);
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
