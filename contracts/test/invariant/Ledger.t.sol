// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {AccountWordLibrary} from "../../src/types/AccountWord.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {Dice, RandomBatch} from "../base/RandomBatch.sol";
import {VM} from "../base/Vm.sol";

/// @title LedgerInvariants: `INVARIANTS.md` after any sequence of calls
/// @dev Its own handler: each `act...` is one thing that somebody does. A second, plain book is kept
/// beside the ledger: what it does not know must not have happened (I3).
/// forge-config: default.invariant.runs = 12
contract LedgerInvariants is LedgerTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev What an account should have.
    struct Entry {
        int256 energyWh;
        int256 moneyMicro;
        uint256 requestedMicro;
        uint256 availableAt;
        uint256 latest;
        uint256 delegate;
        uint256 mintedIn;
    }

    uint256 private constant ACCOUNTS = 4;
    uint256 private constant WH = 1e15;
    uint256 private constant DELEGATES = 0xDE1E00;
    uint256 private constant OPEN_S = 1 days;

    uint256[] private keys;
    address[] private members;
    mapping(address account => Entry) private book;
    mapping(address account => mapping(uint256 index => bool)) private used;
    uint64 private nextStart = START;
    uint64 private settledStart;
    uint8 private revision;
    int256 private feesMicro;
    int256 private supplyWh;
    int256 private heldMicro;
    uint256 private delegates;
    uint256 private settledBatches;

    function setUp() public override {
        super.setUp();
        ledger.setCompliance(address(compliance), true);
        for (uint256 i; i < ACCOUNTS; ++i) {
            keys.push(0x14A2 + i);
            members.push(VM.addr(keys[i]));
            register(0x3E7E20 + i, keys[i]);
            _fund(_account(i), PURSE_MICRO);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](18);
        selectors[0] = this.actDeposit.selector;
        selectors[1] = this.actPermit.selector;
        selectors[2] = this.actRequest.selector;
        selectors[3] = this.actWithdraw.selector;
        selectors[4] = this.actRelay.selector;
        selectors[5] = this.actSettle.selector;
        selectors[6] = this.actSettleHonestly.selector;
        selectors[7] = this.actCorrect.selector;
        selectors[8] = this.actMandate.selector;
        selectors[9] = this.actCancel.selector;
        selectors[10] = this.actFlag.selector;
        selectors[11] = this.actCollectFees.selector;
        selectors[12] = this.actTransfer.selector;
        selectors[13] = this.actBurn.selector;
        selectors[14] = this.actMint.selector;
        selectors[15] = this.actWait.selector;
        selectors[16] = this.actSettleHonestly.selector; // more often than the rest
        selectors[17] = this.actSettleHonestly.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(this), selectors);
    }

    /* MONEY */

    function actDeposit(uint256 who, uint256 moneyMicro) external {
        _fund(_account(who), 1 + moneyMicro % PURSE_MICRO);
    }

    function actPermit(uint256 who, uint256 moneyMicro) external {
        address account = _account(who);
        moneyMicro = 1 + moneyMicro % PURSE_MICRO;
        currency.mint(account, moneyMicro);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                account,
                address(ledger),
                moneyMicro,
                currency.nonces(account),
                block.timestamp
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(
            keys[who % ACCOUNTS],
            keccak256(abi.encodePacked(hex"1901", currency.DOMAIN_SEPARATOR(), structHash))
        );
        VM.prank(account);
        ledger.depositWithPermit(moneyMicro, block.timestamp, v, r, s);
        _gain(account, int256(moneyMicro));
    }

    function actRequest(uint256 who, uint256 moneyMicro) external {
        Entry storage entry = book[_account(who)];
        entry.requestedMicro = moneyMicro % (2 * uint256(entry.moneyMicro) + 1);
        entry.availableAt = block.timestamp + EXIT_DELAY_S;
        VM.prank(_account(who));
        ledger.requestWithdrawal(entry.requestedMicro);
    }

    /// @dev Sometimes after the delay, sometimes while trading is paused: it depends on neither flags
    /// nor pause, only on the request.
    function actWithdraw(uint256 who, uint256 moneyMicro, bool patient, bool whilePaused) external {
        address account = _account(who);
        Entry storage entry = book[account];
        if (patient && block.timestamp < entry.availableAt) _waitUntil(entry.availableAt);
        moneyMicro = 1 + moneyMicro % (uint256(entry.moneyMicro) + 1);
        bool allowed = moneyMicro <= entry.requestedMicro && int256(moneyMicro) <= entry.moneyMicro
            && block.timestamp >= entry.availableAt && block.timestamp <= entry.availableAt + OPEN_S;
        _pause(whilePaused);
        VM.prank(account);
        (bool success,) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.withdraw, (moneyMicro, carol)));
        _pause(false);
        VM.assertTrue(success == allowed, "a withdrawal is what was requested, when it may be");
        if (!success) return;
        entry.requestedMicro -= moneyMicro;
        _gain(account, -int256(moneyMicro));
    }

    function actRelay(uint256 who, uint256 moneyMicro, uint256 feeMicro, bool bySettler) external {
        address account = _account(who);
        IEnergyLedger.Withdrawal memory withdrawal = wanted(account, 1 + moneyMicro % 1e9);
        withdrawal.to = carol;
        withdrawal.relayFeeMicro = feeMicro % 1000;
        uint256 neededMicro = withdrawal.moneyMicro + withdrawal.relayFeeMicro;
        Entry storage entry = book[account];
        bool allowed = int256(neededMicro) <= entry.moneyMicro
            && (bySettler
                || (neededMicro <= entry.requestedMicro
                    && block.timestamp >= entry.availableAt
                    && block.timestamp <= entry.availableAt + OPEN_S));
        (bytes32 r, bytes32 vs) = Consents.withdrawal(keys[who % ACCOUNTS], ledger, withdrawal);
        VM.prank(bySettler ? operator : carol);
        (bool success,) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.relayWithdrawal, (withdrawal, r, vs)));
        VM.assertTrue(success == allowed, "a relay is what was signed, by who may bring it");
        if (!success) return;
        if (!bySettler) entry.requestedMicro -= neededMicro;
        _gain(account, -int256(neededMicro));
    }

    function actCollectFees() external {
        if (feesMicro == 0) return;
        ledger.collectFees();
        book[treasury].moneyMicro += feesMicro;
        feesMicro = 0;
    }

    /* SETTLEMENT */

    /// @dev The market of the next interval, as it was traded.
    function actSettleHonestly(uint256 seed) external {
        Dice memory dice = Dice(seed, 0);
        TestOrder[] memory orders = RandomBatch.make(dice, keys, termsOf(address(currency)));
        (bool success, bytes memory why) = _settleNext(dice, orders);
        bytes4 reason = bytes4(why);
        VM.assertTrue(
            success || reason == IEnergyLedger.AccountMoneyInsufficient.selector
                || reason == IEnergyLedger.AccountIntervalUsed.selector
                || reason == IEnergyLedger.AccountIntervalPassed.selector
                || reason == IEnergyLedger.AccountBlocked.selector
                || reason == IEnergyLedger.MandateNotCovering.selector,
            "an honest batch fails only for what a member did"
        );
        _nextInterval(1);
    }

    /// @dev The same with a wrong field: what is accepted all the same breaks nothing either.
    function actSettle(uint256 seed) external {
        Dice memory dice = Dice(seed, 0);
        TestOrder[] memory orders = RandomBatch.make(dice, keys, termsOf(address(currency)));
        RandomBatch.spoil(dice, orders[dice.between(0, orders.length - 1)], METERED_MAX_WH);
        _settleNext(dice, orders);
        _nextInterval(1);
    }

    /// @dev One account gives energy and money to another, which also finds some production.
    function actCorrect(uint256 seed) external {
        if (settledStart == 0 || revision == type(uint8).max) return;
        Dice memory dice = Dice(seed, 0);
        uint256 from = dice.between(0, ACCOUNTS - 1);
        uint256 to = (from + dice.between(1, ACCOUNTS - 1)) % ACCOUNTS;
        IEnergyLedger.CorrectionRow memory loser;
        IEnergyLedger.CorrectionRow memory winner;
        (loser.account, winner.account) = (_account(from), _account(to));
        uint256 movedWh = dice.between(0, uint256(book[loser.account].energyWh));
        uint256 foundWh = dice.between(0, _isFree(winner.account, settledStart) ? 0 : 50);
        if (!_isFree(loser.account, settledStart)) {
            loser.burnedWh = uint48(dice.between(0, movedWh));
        }
        // Who may not send or receive energy gets and gives none here either.
        if (_isBlocked(loser.account, AccountWordLibrary.NO_SEND)) movedWh = loser.burnedWh;
        if (_isBlocked(winner.account, AccountWordLibrary.NO_RECEIVE)) movedWh = loser.burnedWh;
        winner.mintedWh = uint48(foundWh);
        loser.energyWh = -int64(uint64(movedWh));
        winner.energyWh = int64(uint64(movedWh - loser.burnedWh + foundWh));
        winner.moneyMicro = int64(uint64(dice.between(0, uint256(book[loser.account].moneyMicro))));
        loser.moneyMicro = -winner.moneyMicro;
        revision += 1;
        (loser.r, loser.vs) =
            Consents.correction(keys[from], ledger, settledStart, revision, 0, loser);
        _correct(loser, winner);
    }

    function actMandate(uint256 who, uint40 covers, bool revokes) external {
        address account = _account(who);
        Entry storage entry = book[account];
        if (entry.delegate != 0 && revokes) {
            VM.prank(account);
            ledger.revokeMandate(VM.addr(entry.delegate));
            return;
        }
        entry.delegate = DELEGATES + ++delegates;
        VM.prank(account);
        ledger.setMandate(
            IEnergyLedger.Mandate(
                account,
                VM.addr(entry.delegate),
                0,
                uint40(nextStart) + 1 + covers % 30 days,
                50_000,
                type(int64).max,
                type(int64).min
            )
        );
    }

    function actCancel(uint256 who, uint64 ahead) external {
        address account = _account(who);
        uint64 start = nextStart + (2 + ahead % 47) * INTERVAL_S;
        bool allowed = _isFree(account, start);
        VM.prank(account);
        (bool success,) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.cancelInterval, (start)));
        VM.assertTrue(success == allowed, "a free interval can be cancelled");
        if (success) _use(account, start);
    }

    function actFlag(uint256 who, uint8 flags) external {
        VM.prank(complianceOfficer);
        // Mostly nothing, else nobody would trade.
        compliance.setBlocked(_account(who), flags % 8 == 1, flags % 8 == 2);
    }

    /* ENERGY */

    function actTransfer(uint256 from, uint256 to, uint256 energyWh) external {
        energyWh %= energyOf(_account(from)) + 1;
        VM.prank(_account(from));
        try token.transfer(_account(to), energyWh * WH) {
            book[_account(from)].energyWh -= int256(energyWh);
            book[_account(to)].energyWh += int256(energyWh);
        } catch {}
    }

    function actBurn(uint256 who, uint256 energyWh) external {
        energyWh %= energyOf(_account(who)) + 1;
        VM.prank(_account(who));
        try token.burnEnergyTokens(_account(who), energyWh * WH) {
            book[_account(who)].energyWh -= int256(energyWh);
            supplyWh -= int256(energyWh);
        } catch {}
    }

    /// @dev For the interval that ended last, which a settlement or a cancellation may have used up.
    function actMint(uint256 who, uint256 energyWh) external {
        address account = _account(who);
        energyWh = 1 + energyWh % (uint256(EXPORT_LIMIT_W) * INTERVAL_S / 3600);
        bool free = _isFree(account, nextStart);
        VM.prank(oracle);
        try token.mintEnergyTokens(account, energyWh * WH, Sources.SOLAR) {
            VM.assertTrue(free || book[account].mintedIn == nextStart, "minted and settled");
            if (free) _use(account, nextStart);
            book[account].mintedIn = nextStart;
            book[account].energyWh += int256(energyWh);
            supplyWh += int256(energyWh);
        } catch {}
    }

    function actWait(uint256 intervals) external {
        _nextInterval(1 + uint64(intervals % 60));
    }

    /* INVARIANTS */

    /// @dev I1, I3, I6: accounts, pot and supply are what the book says, and the money is there.
    function invariant_TheLedgerIsTheBook() external view {
        int256 moneyMicro = feesMicro + book[treasury].moneyMicro;
        int256 energyWh;
        for (uint256 i; i < ACCOUNTS; ++i) {
            Entry storage entry = book[_account(i)];
            VM.assertEq(int256(moneyOf(_account(i))), entry.moneyMicro, "an account's money");
            VM.assertEq(int256(energyOf(_account(i))), entry.energyWh, "an account's energy");
            VM.assertEq(latestOf(_account(i)), entry.latest, "an account's latest interval");
            moneyMicro += entry.moneyMicro;
            energyWh += entry.energyWh;
        }
        VM.assertEq(int256(moneyOf(treasury)), book[treasury].moneyMicro, "collected fees");
        VM.assertEq(int256(ledger.feesMicro()), feesMicro, "fees in the pot");
        VM.assertEq(moneyMicro, heldMicro, "paid in less paid out");
        VM.assertEq(int256(currency.balanceOf(address(ledger))), heldMicro, "it is there");
        VM.assertEq(energyWh, supplyWh, "minted less burned");
        VM.assertEq(int256(ledger.energyWhTotal()), supplyWh, "supply");
        VM.assertEq(int256(token.totalSupply()), supplyWh * int256(WH), "the token's face");
    }

    /// @dev Whatever happened, the market goes on. I5: each account's window is the list of what was
    /// used. I7: then everybody leaves, blocked and with trading paused, and nothing remains.
    function afterInvariant() external {
        _tradesOn();
        for (uint256 i; i < ACCOUNTS; ++i) {
            address account = _account(i);
            uint256 latest = book[account].latest;
            uint256 bits = usedOf(account);
            for (uint256 j; j < 96; ++j) {
                bool expected = j <= latest && used[account][latest - j];
                VM.assertTrue(bits >> j & 1 == (expected ? 1 : 0), "the window");
            }
            VM.prank(complianceOfficer);
            compliance.setBlocked(account, true, true);
        }
        if (feesMicro != 0) ledger.collectFees();
        _pause(true);
        for (uint256 i; i < ACCOUNTS; ++i) {
            uint256 all = moneyOf(_account(i));
            if (all != 0) leave(ledger, _account(i), all);
        }
        uint256 collected = moneyOf(treasury);
        if (collected != 0) leave(ledger, treasury, collected);
        VM.assertEq(currency.balanceOf(address(ledger)), 0, "everybody left with everything");
    }

    /// @dev Beyond all cancellations, unblocked, with money and by its own keys every market settles.
    function _tradesOn() private {
        _nextInterval(60);
        for (uint256 i; i < ACCOUNTS; ++i) {
            VM.prank(complianceOfficer);
            compliance.setBlocked(members[i], false, false);
            book[members[i]].delegate = 0;
            _fund(members[i], PURSE_MICRO);
        }
        Dice memory dice = Dice(settledBatches, 0);
        (bool success,) =
            _settleNext(dice, RandomBatch.make(dice, keys, termsOf(address(currency))));
        VM.assertTrue(success, "the market goes on");
    }

    /* HELP: BATCHES */

    /// @dev Try to settle the next interval's orders, some of them signed by delegates; book what was
    /// accepted, after checking that it may have been.
    function _settleNext(Dice memory dice, TestOrder[] memory orders)
        private
        returns (bool success, bytes memory why)
    {
        bytes memory rows = _rows(dice, orders);
        VM.record();
        (success, why) = trySettle(nextStart, rows);
        if (!success) return (success, why);
        (, bytes32[] memory writes) = VM.accesses(address(ledger));
        _bookBatch(orders);
        _checkWrites(orders, writes);
        (bool again, bytes memory reason) = trySettle(nextStart, rows);
        VM.assertFalse(again, "settled twice");
        VM.assertTrue(bytes4(reason) == IEnergyLedger.AccountIntervalUsed.selector, "used");
        (settledStart, revision) = (nextStart, 0);
        settledBatches += 1;
    }

    function _rows(Dice memory dice, TestOrder[] memory orders)
        private
        view
        returns (bytes memory rows)
    {
        (address[] memory accounts,) = Batches.sort(ledger, nextStart, orders);
        for (uint256 i; i < orders.length; ++i) {
            uint256 delegate = book[accounts[i]].delegate;
            bool delegated = delegate != 0 && dice.between(0, 5) == 0;
            uint256 key = delegated ? delegate : orders[i].key;
            rows = bytes.concat(rows, Batches.rowBy(key, ledger, nextStart, accounts[i], orders[i]));
        }
    }

    function _bookBatch(TestOrder[] memory orders) private {
        int256 soldWh;
        int256 keptMicro;
        for (uint256 i; i < orders.length; ++i) {
            TestOrder memory order = orders[i];
            _checkNotWorse(order);
            int256 sign = order.side == Batches.SELL ? int256(1) : int256(-1);
            int256 executedWh = int256(uint256(order.executedWh));
            int256 keptWh = int256(uint256(order.meteredWh)) - executedWh;
            Entry storage entry = book[VM.addr(order.key)];
            entry.moneyMicro += sign * order.value;
            entry.energyWh += sign * keptWh;
            supplyWh += sign * keptWh;
            soldWh += sign * executedWh;
            keptMicro -= sign * order.value;
            bool again = i != 0 && orders[i - 1].key == order.key;
            if (!again) {
                VM.assertTrue(_isFree(VM.addr(order.key), nextStart), "I5: used before");
                _use(VM.addr(order.key), nextStart);
            }
        }
        VM.assertEq(soldWh, 0, "I2: energy sold is energy bought");
        VM.assertTrue(keptMicro >= 0, "I2: no money from nowhere");
        feesMicro += keptMicro;
    }

    /// @dev I4: within what was signed, in plain words. I6: metered as it must be.
    function _checkNotWorse(TestOrder memory order) private pure {
        int256 executedWh = int256(uint256(order.executedWh));
        int256 shortWh = int256(uint256(order.shortWh));
        int256 limit = order.limit;
        VM.assertTrue(executedWh + shortWh > 0, "something was traded");
        VM.assertTrue(executedWh + shortWh <= int256(uint256(order.signedWh)), "at most as signed");
        if (order.side == Batches.BUY) {
            if (limit > PRICE_MAX) limit = PRICE_MAX;
            int256 most = executedWh * limit;
            if (limit > UNDER_USE_PRICE_MIN) most += shortWh * (limit - UNDER_USE_PRICE_MIN);
            VM.assertTrue(int256(order.value) * 1000 <= most, "a buyer's limit");
            VM.assertTrue(order.meteredWh <= order.executedWh, "burns what it bought");
        } else {
            if (limit < PRICE_MIN) limit = PRICE_MIN;
            int256 least = executedWh * limit;
            if (limit < SHORTFALL_PRICE_MAX) least -= shortWh * (SHORTFALL_PRICE_MAX - limit);
            int256 rounding = int256(uint256(order.trades));
            VM.assertTrue((order.value + rounding) * 1000 > least, "a seller's limit");
            VM.assertTrue(rounding > 0 && rounding <= executedWh + shortWh, "its rounding");
            VM.assertTrue(order.meteredWh >= order.executedWh, "sells what it produced");
            VM.assertTrue(order.meteredWh <= METERED_MAX_WH, "as it can have");
        }
    }

    /// @dev I8: a batch writes its accounts' words and the ledger's, nothing else.
    function _checkWrites(TestOrder[] memory orders, bytes32[] memory writes) private pure {
        uint256 most = 1;
        for (uint256 i; i < orders.length; ++i) {
            if (i == 0 || orders[i].key != orders[i - 1].key) ++most;
        }
        uint256 slots;
        for (uint256 i; i < writes.length; ++i) {
            uint256 j;
            while (j < slots && writes[j] != writes[i]) ++j;
            if (j == slots) writes[slots++] = writes[i];
        }
        VM.assertGe(most, slots, "I8: slots");
    }

    function _correct(
        IEnergyLedger.CorrectionRow memory loser,
        IEnergyLedger.CorrectionRow memory winner
    ) private {
        IEnergyLedger.CorrectionRow[] memory rows = new IEnergyLedger.CorrectionRow[](2);
        (rows[0], rows[1]) = loser.account < winner.account ? (loser, winner) : (winner, loser);
        VM.prank(operator);
        ledger.correctInterval(settledStart, revision, 0, 0, rows);
        for (uint256 i; i < 2; ++i) {
            book[rows[i].account].energyWh += rows[i].energyWh;
            book[rows[i].account].moneyMicro += rows[i].moneyMicro;
            supplyWh += int256(uint256(rows[i].mintedWh)) - int256(uint256(rows[i].burnedWh));
        }
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.CorrectionRevisionUsed.selector);
        ledger.correctInterval(settledStart, revision, 0, 0, rows);
    }

    /* HELP: TIME */

    function _nextInterval(uint64 intervals) private {
        nextStart += intervals * INTERVAL_S;
        VM.warp(nextStart + INTERVAL_S);
    }

    function _waitUntil(uint256 timestamp) private {
        uint256 seconds_ = timestamp - nextStart;
        _nextInterval(uint64(seconds_ / INTERVAL_S));
        if (block.timestamp < timestamp) _nextInterval(1);
    }

    function _isFree(address account, uint64 start) private view returns (bool) {
        uint256 index = (start - GENESIS) / INTERVAL_S;
        return !used[account][index] && index + 96 > book[account].latest;
    }

    function _isBlocked(address account, uint256 flag) private view returns (bool) {
        (,,,, uint256 flags) = ledger.accountOf(account);
        return flags & flag != 0;
    }

    function _use(address account, uint64 start) private {
        uint256 index = (start - GENESIS) / INTERVAL_S;
        used[account][index] = true;
        if (index > book[account].latest) book[account].latest = index;
    }

    /* HELP */

    function _fund(address account, uint256 moneyMicro) private {
        fund(account, moneyMicro);
        _gain(account, int256(moneyMicro));
    }

    function _gain(address account, int256 moneyMicro) private {
        book[account].moneyMicro += moneyMicro;
        heldMicro += moneyMicro;
    }

    function _pause(bool stop) private {
        if (ledger.paused() != stop) pause(stop);
    }

    function _account(uint256 who) private view returns (address) {
        return members[who % ACCOUNTS];
    }
}
