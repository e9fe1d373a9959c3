/* Keeps the page fresh: asks for itself every five seconds and takes over what changed. Without it, reload by hand. */
(function () {
  "use strict";
  var EVERY_MS = 5000;
  var isPaused = false;
  var controls = document.getElementById("live");
  var dot = controls.querySelector(".dot");
  var text = controls.querySelector(".words");
  var button = controls.querySelector("button");

  function say(state, words) {
    dot.className = "dot " + state;
    if (text.textContent !== words) {
      text.textContent = words;
    }
  }

  /* What somebody reads by keyboard or has opened stays under their hands. */
  function takeOver(old, fresh) {
    var open = old.querySelector("details[open]") !== null;
    if (old.contains(document.activeElement) || old.innerHTML === fresh.innerHTML) {
      return;
    }
    if (open && fresh.querySelector("details")) {
      fresh.querySelector("details").open = true;
    }
    old.className = fresh.className;
    old.replaceChildren.apply(old, Array.from(fresh.childNodes));
  }

  function show(html) {
    var fresh = new DOMParser().parseFromString(html, "text/html");
    document.title = fresh.title;
    fresh.querySelectorAll("[data-live]").forEach(function (part) {
      var old = document.getElementById(part.id);
      if (old) {
        takeOver(old, part);
      }
    });
    say("", "Live");
  }

  function refresh() {
    if (isPaused || document.hidden) {
      return;
    }
    fetch(location.href, {headers: {Accept: "text/html"}, credentials: "same-origin", cache: "no-store"})
      .then(function (answer) {
        if (!answer.ok) {
          throw new Error(String(answer.status));
        }
        return answer.text();
      })
      .then(show)
      .catch(function () {
        say("lost", "No answer: the figures below are old");
      });
  }

  button.addEventListener("click", function () {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Go on" : "Pause";
    say(isPaused ? "off" : "", isPaused ? "Paused" : "Live");
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  controls.hidden = false;
  setInterval(refresh, EVERY_MS);
}());
