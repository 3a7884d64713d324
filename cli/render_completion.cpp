#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "cli/render_command_table.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

std::vector<FlagId> all_flags_of(const Command& command) {
  std::vector<FlagId> ids(command.flags.begin(), command.flags.end());
  const auto common = common_flags(command);
  ids.insert(ids.end(), common.begin(), common.end());
  return ids;
}

std::vector<FlagId> program_flags() {
  std::vector<FlagId> ids(common_flags().begin(), common_flags().end());
  ids.push_back(FlagId::version);
  return ids;
}

/// "--json --quiet -q".
std::string words_of(const std::vector<FlagId>& ids) {
  std::vector<std::string_view> words;
  for (const FlagId id : ids) {
    words.push_back(flag(id).name);
    if (!flag(id).short_name.empty()) words.push_back(flag(id).short_name);
  }
  return join(words, " ");
}

std::string command_names() {
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  return join(names, " ");
}

std::string with_spaces(std::string_view choices) {
  std::string words(choices);
  std::replace(words.begin(), words.end(), '|', ' ');
  return words;
}

/// What bash does for the value of a flag that is "$2" so far.
std::string bash_action(const Flag& flag) {
  switch (flag.kind) {
    case ValueKind::choice:
      return fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$2\")){}", with_spaces(flag.choices),
                         flag.id == FlagId::device_map ? "; _hfload_files \"$2\"" : "");
    case ValueKind::file:
      return "_hfload_files \"$2\"";
    case ValueKind::directory:
      return "_hfload_directories \"$2\"";
    default:
      return ":";
  }
}

/// Inside single quotes of a POSIX shell.
std::string in_quotes(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out;
}

/// As fish quotes: a backslash before quotes and backslashes.
std::string fish_quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

/// Up to the first full stop: what fits beside a completion.
std::string_view first_sentence(std::string_view text) {
  const size_t stop = text.find(". ");
  if (stop != std::string_view::npos) return text.substr(0, stop);
  return text.ends_with('.') ? text.substr(0, text.size() - 1) : text;
}

/// zsh's _arguments reads colons and brackets in a description as its own.
std::string zsh_description(std::string_view text) {
  std::string out;
  for (const char c : first_sentence(text)) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return in_quotes(out);
}

std::string zsh_action(ValueKind kind, std::string_view choices) {
  switch (kind) {
    case ValueKind::choice:
      return fmt::format("({})", with_spaces(choices));
    case ValueKind::file:
      return "_files";
    case ValueKind::directory:
      return "_files -/";
    default:
      return " ";
  }
}

std::string zsh_flag(const Flag& flag) {
  const std::string action =
      flag.id == FlagId::device_map ? "_hfload_device_map" : zsh_action(flag.kind, flag.choices);
  const std::string value = flag.kind == ValueKind::none ? "" : fmt::format(":value:{}", action);
  const std::string_view star = flag.repeatable ? "*" : "";
  // The equals sign lets both --flag=value and --flag value be completed.
  std::string out = fmt::format("        '{}{}{}[{}]{}' \\\n", star, flag.name,
                                flag.kind == ValueKind::none ? "" : "=", zsh_description(flag.help), value);
  if (!flag.short_name.empty()) {
    out += fmt::format("        '{}{}[{}]{}' \\\n", star, flag.short_name, zsh_description(flag.help), value);
  }
  return out;
}

}  // namespace

std::string render_bash_completion() {
  std::string values;
  std::set<std::string_view> named;
  for (const Flag& flag : flags()) {
    if (flag.kind == ValueKind::none || !named.insert(flag.name).second) continue;
    values += fmt::format("        {}{}{}) {} ;;\n", flag.name, flag.short_name.empty() ? "" : "|",
                          flag.short_name, bash_action(flag));
  }
  std::string cases;
  for (const Command& command : commands()) {
    cases += fmt::format("        {}) flags='{}'; choices='{}'{} ;;\n", command.name,
                         words_of(all_flags_of(command)), with_spaces(command.argument_choices),
                         command.argument_kind == ValueKind::file ? "; files=1" : "");
  }
  return fmt::format(
      R"(# bash completion for hfload, made by: hfload completion bash
_hfload_files() {{
    compopt -o filenames
    local IFS=$'\n'
    COMPREPLY+=($(compgen -f -- "$1"))
}}
_hfload_directories() {{
    compopt -o filenames
    local IFS=$'\n'
    COMPREPLY=($(compgen -d -- "$1"))
}}
_hfload_value() {{
    case $1 in
{}        *) return 1 ;;
    esac
    return 0
}}
_hfload() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    local prefix='' command='' flags='' choices='' files='' word
    COMPREPLY=()
    # --flag=value is three words, or one where COMP_WORDBREAKS has no equals sign.
    if [[ $cur == = ]]; then
        cur=''
        [[ $prev == --* ]] || return
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
        [[ $prev == --* ]] || return
    elif [[ $cur == --*=* ]]; then
        prev=${{cur%%=*}} prefix=${{cur%%=*}}= cur=${{cur#*=}}
    fi
    if _hfload_value "$prev" "$cur"; then
        COMPREPLY=("${{COMPREPLY[@]/#/$prefix}}")
        return
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {} " in
            *" $word "*) command=$word; break ;;
        esac
    done
    case $command in
{}        *) flags='{}'; choices='{}' ;;
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -n $choices ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$cur"))
    elif [[ -n $files ]]; then
        _hfload_files "$cur"
    fi
}}
complete -F _hfload hfload
)",
      values, command_names(), cases, words_of(program_flags()), command_names());
}

std::string render_zsh_completion() {
  std::string descriptions, cases, program;
  for (const FlagId id : program_flags()) program += zsh_flag(flag(id));
  for (const Command& command : commands()) {
    descriptions += fmt::format("        '{}:{}'\n", command.name, in_quotes(command.summary));
    cases += fmt::format("    {})\n        _arguments -s \\\n", command.name);
    for (const FlagId id : all_flags_of(command)) cases += zsh_flag(flag(id));
    const bool is_optional = command.argument.starts_with('[');
    cases += fmt::format("        '{}:{}:{}'\n        ;;\n",
                         command.several_arguments ? "*"
                         : is_optional             ? ":"
                                                   : "",
                         command.argument.empty() ? "no argument" : argument_name(command),
                         zsh_action(command.argument_kind, command.argument_choices));
  }
  return fmt::format(
      R"(#compdef hfload
# zsh completion for hfload, made by: hfload completion zsh
_hfload_device_map() {{
    compadd -- {}
    _files -g '*.json'
}}
_hfload() {{
    local curcontext="$curcontext" state line
    local -a commands
    commands=(
{}    )
    _arguments -C -s \
{}        '1:command:->command' \
        '*::argument:->argument'
    case $state in
    command) _describe command commands ;;
    argument)
    case $line[1] in
{}    esac
    ;;
    esac
}}
if [ "$funcstack[1]" = "_hfload" ]; then _hfload "$@"; else compdef _hfload hfload; fi
)",
      with_spaces(flag(FlagId::device_map).choices), descriptions, program, cases);
}

std::string render_fish_completion() {
  std::string out = "# fish completion for hfload, made by: hfload completion fish\n";
  const auto add_flag = [&](std::string_view condition, const Flag& flag) {
    out += fmt::format("complete -c hfload -n '{}' -l {}", condition, flag.name.substr(2));
    if (!flag.short_name.empty()) out += fmt::format(" -s {}", flag.short_name.substr(1));
    if (flag.kind == ValueKind::choice && flag.id == FlagId::device_map) {
      out += fmt::format(" -r -F -a '{}'", with_spaces(flag.choices));
    } else if (flag.kind == ValueKind::choice) {
      out += fmt::format(" -x -a '{}'", with_spaces(flag.choices));
    } else if (flag.kind == ValueKind::directory) {
      out += " -x -a '(__fish_complete_directories)'";
    } else if (flag.kind == ValueKind::file) {
      out += " -r -F";
    } else if (flag.kind == ValueKind::word) {
      out += " -x";
    }
    out += fmt::format(" -d '{}'\n", fish_quoted(first_sentence(flag.help)));
  };
  std::vector<std::string_view> without_json;
  for (const Command& command : commands()) {
    if (!command.json) without_json.push_back(command.name);
  }
  for (const FlagId id : common_flags()) {
    add_flag(id == FlagId::json ? fmt::format("not __fish_seen_subcommand_from {}", join(without_json, " "))
                                : "true",
             flag(id));
  }
  add_flag("__fish_use_subcommand", flag(FlagId::version));
  for (const Command& command : commands()) {
    out += fmt::format("complete -c hfload -n __fish_use_subcommand -f -a {} -d '{}'\n", command.name,
                       fish_quoted(command.summary));
    const std::string condition = fmt::format("__fish_seen_subcommand_from {}", command.name);
    for (const FlagId id : command.flags) add_flag(condition, flag(id));
    if (command.argument_kind == ValueKind::choice) {
      out += fmt::format("complete -c hfload -n '{}' -f -a '{}'\n", condition,
                         with_spaces(command.argument_choices));
    } else if (command.argument_kind == ValueKind::none) {
      out += fmt::format("complete -c hfload -n '{}' -f\n", condition);
    }
  }
  return out;
}

}  // namespace hfload::cli
